"""Ladders."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.shell.ladder import ladder_of
from pbx.sip.flow import Flow
from pbx.trace import Seen


def message(call_id: str, start: str, cseq: str = "1 INVITE", more: str = "") -> bytes:
    head = f"{start}\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nFrom: <sip:100@x>;tag=a\r\nTo: <sip:101@x>\r\n"
    return f"{head}Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n".encode()


class LadderTests(SynchronousTestCase):
    """Arrows between parties."""

    def setUp(self) -> None:
        self.flows = [Flow("UDP", (f"192.0.2.{n}", 5060), "192.0.2.99:5060", f"{n}", reliable=False) for n in (1, 2, 3)]
        self.seen: list[Seen] = []

    def note(self, at: float, sent: bool, leg: int, start: str, cseq: str = "1 INVITE") -> None:
        self.seen.append(Seen(at, sent, message(f"leg{leg}", start, cseq), self.flows[leg]))

    def draw(self, legs: int) -> list[str]:
        return ladder_of(self.seen, [(f"extension {number}", f"leg{number}") for number in range(legs)]).draw().split("\n")

    def test_forked(self) -> None:
        """Two phones ring at once: an arrow to the second passes the first; times count from the first message."""
        self.note(100.0, False, 0, "INVITE sip:x SIP/2.0")
        self.note(100.0, True, 1, "INVITE sip:x SIP/2.0")
        self.note(100.25, True, 2, "INVITE sip:x SIP/2.0")
        self.note(101.5, False, 2, "SIP/2.0 200 OK")
        self.note(101.5, True, 1, "CANCEL sip:x SIP/2.0", "1 CANCEL")
        self.note(101.5, False, 1, "SIP/2.0 200 OK", "1 CANCEL")
        self.assertEqual(
            self.draw(3),
            [
                "           extension 0          exchange             extension 1          extension 2",
                "           192.0.2.1:5060                            192.0.2.2:5060       192.0.2.3:5060",
                "    0.000  |----- INVITE ------>|                    |                    |",
                "    0.000  |                    |----- INVITE ------>|                    |",
                "    0.250  |                    |---------------- INVITE ---------------->|",
                "    1.500  |                    |<---------------- 200 OK ----------------|",
                "    1.500  |                    |----- CANCEL ------>|                    |",
                "    1.500  |                    |<- 200 OK (CANCEL) -|                    |",
            ],
        )

    def test_again(self) -> None:
        """A retransmission is marked as one."""
        self.note(1.0, True, 1, "INVITE sip:x SIP/2.0")
        self.note(1.5, True, 1, "INVITE sip:x SIP/2.0")
        self.assertIn(" INVITE again ", self.draw(2)[-1])

    def test_strangers(self) -> None:
        """What only mentions the Call-ID, or is no message, is not drawn."""
        self.seen.append(Seen(1.0, False, b"leg0 nonsense", self.flows[0]))
        self.seen.append(Seen(1.0, False, message("other", "MESSAGE sip:x SIP/2.0", "1 MESSAGE", "Subject: leg0\r\n"), self.flows[0]))
        self.assertEqual(ladder_of(self.seen, [("extension 0", "leg0")]).arrows, [])
