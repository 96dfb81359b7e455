"""Who may send: RFC 7362 §4, with the probation of RFC 3550 §A.1."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.rtp.latch import STALE_FOR, Judgement, Latch

DESCRIBED = ("192.0.2.1", 4000)
BEHIND_NAT = ("198.51.100.7", 61000)
STRANGER = ("203.0.113.9", 4000)
ALLOWED = frozenset((DESCRIBED[0], BEHIND_NAT[0]))
REFUSED, ACCEPTED, LATCHED = Judgement.REFUSED, Judgement.ACCEPTED, Judgement.LATCHED


class LatchTests(SynchronousTestCase):
    """One latch an offer/answer."""

    def setUp(self) -> None:
        self.latch = Latch()
        self.latch.reopen(ALLOWED, DESCRIBED, 0.0)

    def judge(self, *packets: tuple[tuple[str, int], int], now: float = 0.0) -> list[Judgement]:
        return [self.latch.judge(source, sequence, now) for source, sequence in packets]

    def test_described(self) -> None:
        """The source in the description is heard at once, and after two packets nobody else is."""
        self.assertEqual(
            self.judge((DESCRIBED, 7), (DESCRIBED, 8), (BEHIND_NAT, 9), (DESCRIBED, 3)), [ACCEPTED, LATCHED, REFUSED, ACCEPTED]
        )

    def test_probation(self) -> None:
        """Another port or an allowed address: heard with the second packet in sequence."""
        self.assertEqual(self.judge((BEHIND_NAT, 7), (BEHIND_NAT, 500), (BEHIND_NAT, 502)), [REFUSED, REFUSED, LATCHED])

    def test_wrapping_probation(self) -> None:
        """65535 and 0 are in sequence."""
        self.assertEqual(self.judge((BEHIND_NAT, 65535), (BEHIND_NAT, 0)), [REFUSED, LATCHED])

    def test_the_same_packet_twice(self) -> None:
        """A duplicate proves nothing."""
        self.assertEqual(self.judge((BEHIND_NAT, 7), (BEHIND_NAT, 7)), [REFUSED, REFUSED])

    def test_stranger(self) -> None:
        """A stranger never latches, however long it tries."""
        self.assertEqual(set(self.judge(*((STRANGER, number) for number in range(50)))), {REFUSED})

    def test_described_is_not_pushed_out(self) -> None:
        """Packets of another allowed source between those of the described one do not keep it from latching."""
        self.assertEqual(self.judge((DESCRIBED, 1), (BEHIND_NAT, 9), (DESCRIBED, 2)), [ACCEPTED, REFUSED, LATCHED])

    def test_without_sequence(self) -> None:
        """Datagrams without numbers latch with the second."""
        self.assertEqual(self.judge((BEHIND_NAT, -1), (BEHIND_NAT, -1)), [REFUSED, LATCHED])

    def test_unchanged_description(self) -> None:
        """After an offer/answer that changes nothing, the source latches again with its first packet."""
        self.judge((BEHIND_NAT, 1), (BEHIND_NAT, 2))
        self.latch.reopen(ALLOWED, DESCRIBED, 5.0)
        self.assertFalse(self.latch.closed)
        self.assertEqual(self.judge((BEHIND_NAT, 3)), [LATCHED])

    def test_changed_source(self) -> None:
        """After an offer/answer a stream may come from elsewhere (RFC 7362 §4)."""
        self.judge((DESCRIBED, 1), (DESCRIBED, 2))
        self.latch.reopen(ALLOWED, DESCRIBED, 5.0)
        self.assertEqual(self.judge((BEHIND_NAT, 3), (BEHIND_NAT, 4), (DESCRIBED, 5)), [REFUSED, LATCHED, REFUSED])

    def test_moved(self) -> None:
        """When the description moves the stream, the last packets of the old source do not take it."""
        self.judge((DESCRIBED, 1), (DESCRIBED, 2))
        moved = (BEHIND_NAT[0], 5000)
        self.latch.reopen(ALLOWED, moved, 5.0)
        self.assertEqual(
            self.judge((DESCRIBED, 3), (DESCRIBED, 4), (moved, 70), (moved, 71), now=5.1), [REFUSED, REFUSED, ACCEPTED, LATCHED]
        )

    def test_moved_and_stayed(self) -> None:
        """A device that describes another port and goes on as before is heard after a moment."""
        self.judge((BEHIND_NAT, 1), (BEHIND_NAT, 2))
        self.latch.reopen(ALLOWED, (DESCRIBED[0], 6000), 5.0)
        self.assertEqual(self.judge((BEHIND_NAT, 3), (BEHIND_NAT, 4), now=5.0 + STALE_FOR), [REFUSED, LATCHED])

    def test_moved_to_where_it_was(self) -> None:
        """A description that now names the source that was found is believed at once."""
        self.judge((BEHIND_NAT, 1), (BEHIND_NAT, 2))
        self.latch.reopen(ALLOWED, BEHIND_NAT, 5.0)
        self.assertEqual(self.judge((BEHIND_NAT, 3), (BEHIND_NAT, 4), now=5.0), [ACCEPTED, LATCHED])

    def test_no_longer_allowed(self) -> None:
        """A source that the signalling no longer vouches for is forgotten."""
        self.judge((BEHIND_NAT, 1), (BEHIND_NAT, 2))
        self.latch.reopen(frozenset((DESCRIBED[0],)), DESCRIBED, 5.0)
        self.assertEqual(self.judge((BEHIND_NAT, 3), (BEHIND_NAT, 4), now=60.0), [REFUSED, REFUSED])
