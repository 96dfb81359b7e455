"""Calls that the exchange begins: RFC 3725 in spirit, REFERENCE §6 in effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.call.origination import End, Originated
from pbx.call.peer import Kind, Peer
from pbx.call.verdict import Answer, Outcome, Refuse, Ring
from pbx.testing.world import START
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.verdict import Verdict
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall


class OriginateTests(FlowTests):
    """``originate("100", "101")``."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def originate(self, caller: str | None = None) -> None:
        self.world.exchange.originate("100", "101", caller)
        self.world.run(0.5)

    def answered(self) -> tuple[PhoneCall, PhoneCall]:
        self.originate()
        first = self.alice.incoming[0]
        first.answer()
        self.world.run(0.5)
        second = self.bob.incoming[0]
        second.answer()
        self.world.run(0.5)
        return first, second

    def test_both_answer(self) -> None:
        """The first rings alone; when it has answered the second rings; then both talk, with their media joined."""
        self.originate()
        self.assertEqual((len(self.alice.incoming), len(self.bob.incoming)), (1, 0))
        first = self.alice.incoming[0]
        first.answer()
        self.world.run(0.5)
        self.assertEqual(len(self.bob.incoming), 1)
        second = self.bob.incoming[0]
        second.answer()
        self.world.run(0.5)
        self.assertEqual((first.state, second.state), ("talking", "talking"))
        before = len(first.heard)
        first.say(3, b"from the first")
        second.say(2, b"from the second")
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in second.heard], [b"from the first"] * 3)
        self.assertEqual([data[12:] for _, data, _ in first.heard[before:]], [b"from the second"] * 2)

    def test_ringback(self) -> None:
        """The first hears our ringing tone while it waits, and no more of it once the second answers."""
        self.originate()
        first = self.alice.incoming[0]
        first.answer()
        first.say(1)
        self.world.run(1.0)
        self.assertGreater(len(first.heard), 20)
        self.bob.incoming[0].answer()
        self.world.run(0.1)
        heard = len(first.heard)
        self.world.run(1.0)
        self.assertEqual(len(first.heard), heard)

    def test_caller_shown(self) -> None:
        """The first sees the second's number; with a caller given both see that."""
        self.originate()
        self.assertEqual(self.alice.received("INVITE")[0].from_.uri.user, "101")
        self.world.exchange.originate("100", "101", "2001")
        self.world.run(0.5)
        self.assertEqual(self.alice.received("INVITE")[1].from_.uri.user, "2001")

    def test_caller_shown_to_the_second(self) -> None:
        """The second sees the first's number, the caller given for both, or one of its own."""
        for caller, own, seen in ((None, None, "100"), ("2001", None, "2001"), ("2001", "2002", "2002"), (None, "", "anonymous")):
            self.world.exchange.originate("100", "101", caller, caller_for_second=own)
            self.world.run(0.5)
            self.alice.incoming[-1].answer()
            self.world.run(0.5)
            self.assertEqual(self.bob.received("INVITE")[-1].from_.uri.user, seen)
            self.alice.incoming[-1].hang_up()
            self.world.run(0.5)

    def test_first_busy(self) -> None:
        """The first is busy: the second is never rung."""
        self.alice.refuses_with = 486
        self.originate()
        self.world.run(1.0)
        self.assertEqual((self.bob.incoming, self.last_record().outcome), ([], "busy"))

    def test_first_offline(self) -> None:
        """The first is not there."""
        self.world.exchange.originate("102", "101")
        self.world.run(0.5)
        self.assertEqual((self.bob.incoming, self.last_record().outcome), ([], "unreachable"))

    def test_first_does_not_answer(self) -> None:
        """The first rings until the time is up."""
        self.originate()
        self.world.run(61.0)
        self.assertEqual((self.alice.incoming[0].state, self.last_record().outcome), ("over", "no answer"))

    def test_first_hangs_up_while_the_second_rings(self) -> None:
        """The first gives up: the second gets CANCEL."""
        self.originate()
        self.alice.incoming[0].answer()
        self.world.run(0.5)
        self.alice.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(self.bob.incoming[0].state, "over")
        self.assertEqual(len(self.bob.received("CANCEL")), 1)

    def test_second_busy(self) -> None:
        """The second is busy: the first gets BYE with the reason."""
        self.bob.refuses_with = 486
        self.originate()
        self.alice.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(self.alice.incoming[0].state, "over")
        self.assertIn("cause=486", self.alice.received("BYE")[0].first("reason"))
        self.assertEqual(self.last_record().outcome, "busy")

    def test_second_does_not_answer(self) -> None:
        """The second rings until the time is up: the first gets BYE."""
        self.originate()
        self.alice.incoming[0].answer()
        for _ in range(7):
            self.alice.incoming[0].say(1)
            self.world.run(10.0)
        self.assertEqual((self.alice.incoming[0].state, self.bob.incoming[0].state), ("over", "over"))

    def test_unknown_second(self) -> None:
        """Nobody has the second number: the first gets BYE."""
        self.world.exchange.originate("100", "999")
        self.world.run(0.5)
        self.alice.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(self.alice.incoming[0].state, "over")

    def test_hang_ups(self) -> None:
        """Either one hangs up, both are released."""
        first, second = self.answered()
        first.hang_up()
        self.world.run(0.5)
        self.assertEqual(second.state, "over")

    def test_second_hangs_up(self) -> None:
        """The other way round."""
        first, second = self.answered()
        second.hang_up()
        self.world.run(0.5)
        self.assertEqual(first.state, "over")

    def test_operator_cancels(self) -> None:
        """`Call.hang_up` at each step releases all."""
        for step in range(3):
            self.originate()
            first = self.alice.incoming[-1]
            if step > 0:
                first.answer()
                self.world.run(0.5)
            if step > 1:
                self.bob.incoming[-1].answer()
                self.world.run(0.5)
            for call in list(self.world.exchange.calls.values()):
                call.hang_up()
            self.world.run(0.5)
            self.assertEqual(first.state, "over", f"step {step}")
            self.assertTrue(all(call.state == "over" for call in self.bob.incoming), f"step {step}")

    def test_hold_afterwards(self) -> None:
        """The joined call behaves as any other: hold goes across."""
        first, second = self.answered()
        first.hold()
        self.world.run(0.5)
        self.assertEqual((first.answered_offers, len(second.offers)), (1, 1))
        second.info(b"x", "text/plain")
        self.world.run(0.5)
        self.assertEqual(second.replies, [200])

    def test_both_ring_devices(self) -> None:
        """The first has two devices: the one that is picked up wins, the other gets CANCEL."""
        other = self.world.phone("100")
        self.originate()
        other.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((self.alice.incoming[0].state, len(self.bob.incoming)), ("over", 1))

    def test_first_answers_with_nonsense(self) -> None:
        """The first's answer does not fit our offer: BYE, and the second is not rung."""
        self.originate()
        self.alice.incoming[0].answer("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n")
        self.world.run(0.5)
        self.assertEqual((self.alice.incoming[0].state, self.bob.incoming), ("over", []))

    def test_first_holds_while_it_waits(self) -> None:
        """A change while the second rings is refused for now, and nothing breaks."""
        self.originate()
        first = self.alice.incoming[0]
        first.answer()
        self.world.run(0.5)
        first.hold()
        self.world.run(0.5)
        self.assertEqual(len(first.refused_offers), 1)
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(first.state, "talking")


class OriginatedTests(FlowTests):
    """What a call says of its end: `Call.originated`."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def ring(self, first: str = "100", second: str = "101", **terms: Any) -> Call:
        call = self.world.exchange.originate(first, second, **terms)
        self.world.run(0.5)
        return call

    def answer(self, phone: Phone) -> None:
        phone.incoming[-1].answer()
        self.world.run(0.5)

    def test_not_over(self) -> None:
        """Nothing is said before the end, nor of a call that somebody has dialled."""
        self.assertIsNone(self.ring().originated)
        dialled = self.bob.dial("102")
        self.world.run(0.5)
        self.assertEqual(dialled.state, "over")
        self.assertIsNone(next(iter(self.world.exchange.calls.values())).originated)

    def test_hung_up(self) -> None:
        """When they were joined, and for how many whole seconds."""
        call = self.ring()
        self.answer(self.alice)
        self.answer(self.bob)
        self.world.run(2.2)
        self.bob.incoming[0].hang_up()
        self.world.run(0.5)
        # 1.5 s for the phones to register and the first to ring, 0.5 s until it has answered, and the 10 ms of the answer itself.
        self.assertEqual(call.originated, Originated(End.HUNG_UP, joined_at=START + 2.01, seconds=3))

    def test_told_to_observers(self) -> None:
        """It is there when observers are told of the end."""
        told: list[Originated | None] = []
        self.patch(self.world.exchange, "tell", lambda event, call, *rest: told.append(call.originated) if event == "call_ended" else None)
        self.ring(first="102")
        self.assertEqual(told, [Originated(End.FIRST_FAILED, Outcome.UNREACHABLE, 480, cause=20)])

    def test_first_fails(self) -> None:
        """How the attempt ended, the status that tells why, and the cause."""
        self.alice.refuses_with = 486
        self.assertEqual(self.ring().originated, Originated(End.FIRST_FAILED, Outcome.BUSY, 486, cause=17))
        self.assertEqual(self.ring(first="999").originated, Originated(End.FIRST_FAILED, None, 404, cause=1))

    def test_second_fails(self) -> None:
        """The same of the second, whatever the first has said before."""
        self.bob.refuses_with = 488
        call = self.ring()
        self.answer(self.alice)
        self.assertEqual(call.originated, Originated(End.SECOND_FAILED, Outcome.REJECTED, 488, cause=31))
        call = self.ring(second="999")
        self.answer(self.alice)
        self.assertEqual(call.originated, Originated(End.SECOND_FAILED, None, 404, cause=1))

    def test_second_answers_with_nonsense(self) -> None:
        """What it answers cannot be joined to the first: it has failed, though it has answered."""
        call = self.ring()
        self.answer(self.alice)
        self.bob.incoming[0].answer("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n")
        self.world.run(0.5)
        self.assertEqual(call.originated, Originated(End.SECOND_FAILED, Outcome.REJECTED, 488, cause=31))
        self.assertEqual((self.alice.incoming[0].state, self.bob.incoming[0].state), ("over", "over"))

    def test_cancelled(self) -> None:
        """By the operator."""
        call = self.ring()
        call.hang_up()
        self.assertEqual(call.originated, Originated(End.CANCELLED))

    def test_given_up(self) -> None:
        """By the first, while it waits."""
        call = self.ring()
        self.answer(self.alice)
        self.alice.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(call.originated, Originated(End.HUNG_UP))

    def test_out_of_time(self) -> None:
        """``lasts_at_most`` counts from the first one's answer."""
        call = self.ring(lasts_at_most=2.2)
        self.answer(self.alice)
        self.answer(self.bob)
        self.world.run(1.1)
        self.assertIsNone(call.originated)
        self.world.run(0.2)
        assert call.originated is not None
        self.assertEqual((call.originated.end, call.originated.seconds), (End.OUT_OF_TIME, 2))

    def test_rights(self) -> None:
        """Both are dialled with the rights that were given, not with those of the first."""
        self.make_world('[routing]\nlevels = {"1" = 2}\n')
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        call = self.ring()
        self.assertEqual(call.originated, Originated(End.FIRST_FAILED, None, 403, cause=21))
        self.ring(rights=Peer(Kind.EXTENSION, "somebody", level=2))
        self.answer(self.alice)
        self.assertEqual(len(self.bob.incoming), 1)


class RehearseTests(FlowTests):
    """`IPbx.rehearse`: what the dial plan would say."""

    def setUp(self) -> None:
        self.make_world('[routing]\nlevels = {"101" = 3}\n[extensions.102]\npassword = "secret of 102"\nlevel = 3\n')
        self.phone = self.world.phone("101")

    def verdict(self, called: str, **who: Any) -> Verdict:
        handle = self.world.service.generation.handles["echo"]
        verdict: Verdict = self.successResultOf(handle.rehearse(called, **who))
        return verdict

    def test_rights(self) -> None:
        """Those of the caller, or a level."""
        for who, is_allowed in (({"caller": "100"}, False), ({"caller": "102"}, True), ({"level": 2}, False), ({"level": 3}, True)):
            verdict = self.verdict("101", **who)
            self.assertEqual(type(verdict), Ring if is_allowed else Refuse, who)
            self.assertEqual(getattr(verdict, "status", 403), 403)
        self.assertIsInstance(self.verdict("101", caller="102", level=0), Refuse)
        self.assertEqual(self.phone.incoming, [])

    def test_last_verdict(self) -> None:
        """A service answers, nobody knows a number, somebody is not there."""
        self.assertIsInstance(self.verdict("600", caller="100"), Answer)
        unknown, absent = self.verdict("4711", caller="100"), self.verdict("100", caller="102")
        assert isinstance(unknown, Refuse) and isinstance(absent, Refuse)
        self.assertEqual((unknown.status, absent.status), (404, 480))


ALAW_ONLY = "v=0\r\no=bob 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"


class CodecTests(FlowTests):
    """The two share a codec, but not the one that the first has answered with (RFC 3725 §4.1, RFC 3264 §8.3.2)."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()
        self.world.exchange.originate("100", "101")
        self.world.run(0.5)
        self.first = self.alice.incoming[0]
        self.first.answer()
        self.world.run(0.5)
        self.second = self.bob.incoming[0]

    def answer_with_alaw(self) -> None:
        """The second answers, and knows A-law alone."""
        self.second.answer(ALAW_ONLY.format(self.bob.address, self.second.audio.address[1]))
        self.world.run(1.0)

    def test_settled(self) -> None:
        """The first gets a re-INVITE, and both talk with the codec that both know."""
        self.answer_with_alaw()
        self.assertEqual((self.first.state, self.second.state), ("talking", "talking"))
        self.assertEqual(len(self.first.offers), 1)
        assert self.first.remote is not None
        self.assertIn("8", self.first.remote.media[0].formats)
        self.first.say(3, b"from the first", payload_type=8)
        self.second.say(2, b"from the second", payload_type=8)
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in self.second.heard], [b"from the first"] * 3)
        self.assertEqual([data[12:] for _, data, _ in self.first.heard][-2:], [b"from the second"] * 2)

    def test_second_cannot_take_the_offer(self) -> None:
        """The second says 488: it is asked for an offer of its own, which the first gets by re-INVITE; its answer goes with the ACK."""
        self.second.refuse(488)
        self.world.run(0.5)
        second = self.bob.incoming[1]
        self.assertIsNone(self.bob.received("INVITE")[1].sdp)
        second.answer()
        self.world.run(0.5)
        self.assertEqual((self.first.state, second.state, len(self.first.offers)), ("talking", "talking", 1))
        self.assertIsNotNone(self.bob.received("ACK")[-1].sdp)
        before = len(self.first.heard)
        self.first.say(3)
        second.say(2)
        self.world.run(0.5)
        self.assertEqual((len(second.heard), len(self.first.heard) - before), (3, 2))

    def test_nothing_in_common(self) -> None:
        """The first does not take the second's offer either: both are released, the second by ACK and BYE."""
        self.first.refuses_offers_with = 488
        self.second.refuse(488)
        self.world.run(0.5)
        self.bob.incoming[1].answer()
        self.world.run(1.0)
        self.assertEqual((self.first.state, self.bob.incoming[1].state), ("over", "over"))
        self.assertEqual((len(self.bob.received("ACK")), len(self.bob.received("BYE"))), (2, 1))

    def test_refused_twice(self) -> None:
        """The second says 488 to that as well: it is asked no third time."""
        self.second.refuse(488)
        self.world.run(0.5)
        self.bob.incoming[1].refuse(488)
        self.world.run(0.5)
        self.assertEqual((self.first.state, len(self.bob.incoming)), ("over", 2))

    def test_not_to_be_settled(self) -> None:
        """The first refuses it: both go on with what they have, until one of them hangs up."""
        self.first.refuses_offers_with = 488
        self.answer_with_alaw()
        self.assertEqual((self.first.state, self.second.state, len(self.first.offers)), ("talking", "talking", 1))
        self.second.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.first.state, "over")
