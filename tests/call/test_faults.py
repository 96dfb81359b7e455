"""What breaks inside one call ends that call, is logged once, and touches nothing else (DESIGN §7)."""

from __future__ import annotations

from pbx.call.leg import Leg
from pbx.sip.session_events import SessionEvent
from tests.flows.base import FlowTests


class Broken:
    """An owner of legs that cannot hear anything without falling over."""

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        raise ZeroDivisionError

    def leg_silent(self, leg: Leg) -> None:
        raise ZeroDivisionError

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        raise ZeroDivisionError

    def partner(self, leg: Leg) -> None:
        """Nobody's."""


class FaultTests(FlowTests):
    """A fault of ours in a call that is under way."""

    def test_while_talking(self) -> None:
        """Both get BYE, the other call goes on."""
        alice, bob = self.two_phones()
        carol, dave = self.world.phone("102"), self.world.phone("102")
        call, answered = self.connected(alice, bob)
        leg = next(iter(self.world.exchange.calls.values())).legs[0]
        other, _ = self.connected(carol, dave)
        leg.owner = Broken()
        call.info(b"x", "text/plain")
        self.world.run(0.5)
        self.assertEqual((call.state, answered.state, other.state), ("over", "over", "talking"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.last_record().reason, "an error in the exchange")

    def test_while_it_rings(self) -> None:
        """The caller gets an answer, the callee CANCEL."""
        alice, bob = self.two_phones()
        call = alice.dial("101")
        self.world.run(0.5)
        next(iter(self.world.exchange.calls.values())).legs[1].owner = Broken()
        bob.incoming[0].ring(status=182)
        self.world.run(0.5)
        self.assertEqual((call.state, bob.incoming[0].state), ("over", "over"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_media_plane(self) -> None:
        """The owner of media falls over: logged, and packets go on."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        next(iter(self.world.exchange.calls.values())).legs[0].owner = Broken()
        call.press(5)
        call.say(2)
        self.world.run(0.5)
        self.assertEqual(len(answered.heard), 7)
        self.assertLessEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_media_cannot_be_changed(self) -> None:
        """The media plane breaks in a change: both get BYE."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)

        async def broken(*arguments: object) -> object:
            raise ZeroDivisionError

        self.patch(self.world.exchange.media, "offer", broken)
        call.hold()
        self.world.run(0.5)
        self.assertEqual((call.state, answered.state), ("over", "over"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_media_cannot_be_set_up(self) -> None:
        """It breaks at the start: 500."""
        alice, _ = self.two_phones()

        async def broken(*arguments: object) -> object:
            raise ZeroDivisionError

        self.patch(self.world.exchange.media, "offer", broken)
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.world.exchange.calls, {})
