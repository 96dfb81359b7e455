"""What the tests of whole calls share: a world, and the proof that nothing is left when it is over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.world import World

if TYPE_CHECKING:
    from pbx.call.record import Record
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall

SETTLED = 64 * 0.5 + 1.0
"""Seconds after which nothing of a call may be left: 64*T1, and a moment for the packet in flight."""


async def _later(clock: Any, seconds: float, rewrite: Any, *arguments: Any) -> Any:
    await deferLater(clock, seconds)
    return await rewrite(*arguments)


class FlowTests(SynchronousTestCase):
    """
    Whole calls in virtual time.

    After each test all calls that are still there are hung up, and 64*T1 later every table of calls is empty.
    """

    world: World

    def make_world(self, configuration: str = "", **arguments: Any) -> World:
        """Make the world of this test; a packet takes 10 ms one way unless it is said otherwise."""
        arguments.setdefault("delay", 0.01)
        self.world = World(configuration, **arguments)
        self.addCleanup(self.check_nothing_is_left, self.world)
        return self.world

    def check_nothing_is_left(self, world: World) -> None:
        """64*T1 after the last call all tables that belong to calls are empty (RELIABILITY 11), and nothing is lost of the records."""
        if not world.service.running:
            return  # it has been shut down, and its timers with it
        for call in list(world.exchange.calls.values()):
            call.hang_up("the test is over")
        # A leg whose CANCEL or BYE nobody answers takes 64*T1 for itself, one that waits for an ACK as long before that.
        world.run(3 * SETTLED if any(phone.loses for phone in world.phones) or world.network.loss else SETTLED)
        self.assertEqual({name: size for name, size in world.sizes().items() if size}, {}, "left after the last call")
        self.assertEqual(world.service.driver.failures, {})

    def two_phones(self, configuration: str = "", **arguments: Any) -> tuple[Phone, Phone]:
        """A world with phones 100 and 101."""
        world = self.make_world(configuration, **arguments)
        return world.phone("100"), world.phone("101")

    def connected(self, alice: Phone, bob: Phone, **arguments: Any) -> tuple[PhoneCall, PhoneCall]:
        """A call of ``alice`` that ``bob`` has answered."""
        call = alice.dial(bob.number, **arguments)
        self.world.run(0.5)
        bob.incoming[-1].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, bob.incoming[-1].state), ("talking", "talking"))
        return call, bob.incoming[-1]

    def slow_media(self, seconds: float) -> None:
        """Offers and answers take this long to rewrite, as with another engine behind `IMediaPlane`."""
        plane: Any = self.world.service.media
        for name in ("offer", "answer"):
            setattr(plane, name, partial(_later, self.world.clock, seconds, getattr(plane, name)))

    def last_record(self) -> Record:
        """The record of the call that ended last."""
        return self.world.exchange.recent[-1].record
