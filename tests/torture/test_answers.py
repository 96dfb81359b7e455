"""What the transaction layer puts on the wire for the torture messages: the refusals themselves, and silence where silence is due."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build
from pbx.sip.effects import Arrived, Effect, Responded, Send
from pbx.sip.flow import Flow
from pbx.sip.ids import Ids
from pbx.sip.message import Response, parse_message
from pbx.sip.transactions import Transactions
from tests.torture import rfc4475, rfc5118
from tests.torture.message import Fate, Torture

ALL = rfc4475.MESSAGES + rfc5118.MESSAGES


def udp() -> Flow:
    """The flow of a peer at 192.0.2.77, whatever its Via says."""
    return Flow("UDP", ("192.0.2.77", 5060), "192.0.2.1:5060", "udp 192.0.2.77:5060", reliable=False)


class AnswerTests(SynchronousTestCase):
    """Each message alone, as a datagram from an unknown peer."""

    def receive(self, data: bytes) -> list[Effect]:
        """What a fresh transaction layer does with it; no state may be made for it."""
        transactions = Transactions(Ids("x", Random(1)))
        effects = transactions.receive(data, udp(), 0.0)
        self.assertEqual(sum(transactions.sizes().values()), 0)
        return effects

    def answers(self, message: Torture) -> list[Response]:
        """The responses that are sent."""
        sent = [effect for effect in self.receive(message.data) if isinstance(effect, Send)]
        self.assertEqual([send.flow.key for send in sent], ["udp 192.0.2.77:5060"] * len(sent), message.name)
        responses = [parse_message(send.data) for send in sent]
        return [response for response in responses if isinstance(response, Response)]

    def test_refusals(self) -> None:
        """Every request that must be refused gets one response, with the status that the RFC suggests, at its source."""
        for message in ALL:
            if message.fate is Fate.REFUSED:
                [answer] = self.answers(message)
                self.assertIn(answer.status, message.statuses, message.name)

    def test_refusals_are_well_formed(self) -> None:
        """A refusal has one Call-ID and CSeq at most and carries back neither the body nor what was broken in the start line."""
        for message in ALL:
            for answer in self.answers(message):
                self.assertEqual(answer.body, b"", message.name)
                for name in ("call-id", "cseq", "from", "to", "content-length"):
                    self.assertLessEqual(len(answer.headers.get(name, [])), 1, f"{name} in the answer to {message.name}")

    def test_served(self) -> None:
        """Every valid request is handed up, once, and nothing is sent here."""
        for message in ALL:
            if message.fate is Fate.ACCEPTED and not message.data.startswith(b"SIP/"):
                effects = self.receive(message.data)
                self.assertEqual([type(effect) for effect in effects if isinstance(effect, (Arrived, Send))], [Arrived], message.name)

    def test_responses(self) -> None:
        """No response is answered, nor handed up when nobody asked for it."""
        for message in ALL:
            if message.data.startswith(b"SIP/"):
                self.assertEqual(self.receive(message.data), [], message.name)

    def test_acks(self) -> None:
        """The same messages as ACKs are never answered (RFC 3261 §17)."""
        for message in ALL:
            if not message.data.startswith(b"SIP/"):
                method, _, rest = message.data.partition(b" ")
                data = (b"ACK " + rest).replace(b" " + method + b"\r\n", b" ACK\r\n")
                self.assertEqual([effect for effect in self.receive(data) if isinstance(effect, Send)], [], message.name)


class ExpectedResponseTests(SynchronousTestCase):
    """The responses of RFC 4475 as if they answered a request of ours."""

    def receive(self, name: str) -> list[Effect]:
        """What becomes of the message once its top Via is that of an INVITE (or OPTIONS) that we have just sent."""
        data = rfc4475.BY_NAME[name].data
        method = "OPTIONS" if b" OPTIONS\r\n" in data else "INVITE"
        transactions = Transactions(Ids("x", Random(1)))
        flow, branch = udp(), transactions.ids.branch()
        outgoing = build.request(
            *(method, "sip:user@example.edu", flow.via, branch),
            from_="<sip:user@example.com>;tag=1",
            to="<sip:user@example.edu>",
            call_id="1",
            cseq=35,
        )
        transactions.request(outgoing, flow, None, 0.0)
        head, _, rest = data.partition(b"Via: ")
        ours = f"{flow.via};branch={branch}".encode()
        return transactions.receive(head + b"Via: " + ours + rest[rest.index(b"\r\n") :], flow, 0.1)

    def statuses(self, name: str) -> list[int]:
        """The statuses that reach the user."""
        return [effect.response.status for effect in self.receive(name) if isinstance(effect, Responded)]

    def test_valid(self) -> None:
        """§3.1.1.12, §3.1.1.13: odd reason phrases, or none, are delivered."""
        self.assertEqual((self.statuses("unreason"), self.statuses("noreason")), ([200], [100]))

    def test_numbers(self) -> None:
        """§3.1.2.5, §3.1.2.19: scalars that are too great reach nobody."""
        self.assertEqual((self.receive("scalarlg"), self.receive("bigcode")), ([], []))

    def test_second_via(self) -> None:
        """§3.3.10: a response with a Via below ours was meant for somebody else (RFC 3261 §8.1.3.3)."""
        self.assertEqual(self.receive("bcast"), [])
