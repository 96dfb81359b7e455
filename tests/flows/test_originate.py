"""Calls that the exchange begins: RFC 3725 in spirit, REFERENCE §6 in effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows.base import FlowTests

if TYPE_CHECKING:
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
