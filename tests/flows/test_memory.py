"""What is left of calls in memory: nothing, without the help of the collector of cycles (DESIGN §8)."""

from __future__ import annotations

import gc

from pbx.call.bridge import Bridge
from pbx.call.call import Call
from pbx.call.dialing import Attempt
from pbx.call.leg import Leg
from pbx.call.waiting import Waiting
from pbx.media.end import MediaEnd
from pbx.media.track import Track
from pbx.sip.dialog import Dialog
from pbx.sip.invite_session import InviteSession
from pbx.sip.transaction import Transaction
from tests.flows.base import SETTLED, FlowTests

OF_CALLS = (Bridge, Call, Attempt, Leg, Waiting, MediaEnd, Track, Dialog, InviteSession, Transaction)


class MemoryTests(FlowTests):
    """Calls that ended in every manner, 64*T1 ago, with the collector switched off."""

    def test_nothing_is_left(self) -> None:
        """No object of a call lives on: cycles have been broken by hand."""
        alice, bob = self.two_phones("[routing]\nring_timeout = 5.0\n")
        other = self.world.phone("101")
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        call, answered = self.connected(alice, bob)
        call.hold()
        self.world.run(0.5)
        call.info(b"x", "text/plain")
        call.say(3)
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        given_up = alice.dial("101")
        self.world.run(0.5)
        given_up.hang_up()
        unanswered = alice.dial("101")
        self.world.run(6.0)
        unknown = alice.dial("999")
        offline = alice.dial("102")
        echo = alice.dial("600")
        self.world.run(0.5)
        echo.hang_up()
        self.world.exchange.originate("100", "101")
        self.world.run(0.5)
        alice.incoming[0].refuse(486)
        self.world.run(0.5)
        for one in (call, answered, given_up, unanswered, unknown, offline, echo):
            self.assertEqual(one.state, "over")
        del call, answered, given_up, unanswered, unknown, offline, echo, one
        self.world.run(SETTLED)
        for phone in (alice, bob, other):
            phone.incoming.clear()
        # The phones are built of the same parts, and live on.
        phones = {id(phone.stack) for phone in self.world.phones}
        left = [thing for thing in gc.get_objects() if isinstance(thing, OF_CALLS) and id(getattr(thing, "_stack", None)) not in phones]
        kinds = sorted({f"{type(thing).__name__}: {thing!r}" for thing in left if not self.is_a_phones(thing)})
        self.assertEqual(kinds, [])

    def is_a_phones(self, thing: object) -> bool:
        """Whether it belongs to a phone: reachable from it by a dialog or a transaction."""
        flow = getattr(thing, "flow", None)
        return flow is not None and flow.sent_by != "192.0.2.1:5060"
