"""What is left of calls in memory: nothing, without the help of the collector of cycles (DESIGN §8)."""

from __future__ import annotations

import gc

from pbx.call.bridge import Bridge
from pbx.call.call import Call
from pbx.call.conversation import Conversation
from pbx.call.dialing import Attempt
from pbx.call.leg import Leg
from pbx.call.proposing import Proposing
from pbx.call.taking import Taking
from pbx.call.transfer import Transfer
from pbx.call.waiting import Waiting
from pbx.media.end import MediaEnd
from pbx.media.track import Track
from pbx.sip.dialog import Dialog
from pbx.sip.invite_session import InviteSession
from pbx.sip.transaction import Transaction
from tests.flows.base import SETTLED, FlowTests

OF_CALLS = (
    Bridge, Call, Conversation, Attempt, Leg, Waiting, Transfer, Taking, Proposing, MediaEnd, Track, Dialog, InviteSession, Transaction,
)  # fmt: skip


class MemoryTests(FlowTests):
    """Calls that ended in every manner, 64*T1 ago, with the collector switched off."""

    def test_nothing_is_left(self) -> None:
        """No object of a call lives on: cycles have been broken by hand."""
        alice, bob = self.two_phones("[routing]\nring_timeout = 5.0\n")
        self.world.phone("101")
        self.without_collector()
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
        self.check_memory()

    def test_transfers(self) -> None:
        """The same after transfers that succeed and fail, of one call and of two, and after another device has taken a call over."""
        alice, bob = self.two_phones()
        carol, tablet = self.world.phone("102"), self.world.phone("100")
        self.without_collector()
        for number in ("102", "600", "999"):
            caller, callee = self.connected(alice, bob)
            caller.refer(number)
            self.world.run(0.5)
            if number == "102":
                carol.incoming[-1].answer()
                self.world.run(0.5)
            callee.hang_up()
            self.world.run(0.5)
        for refuses_with in (0, 488):
            caller, callee = self.connected(alice, bob)
            consultation, far = self.connected(alice, carol)
            far.refuses_offers_with = refuses_with
            caller.refer_to_call(consultation)
            self.world.run(0.5)
            callee.hang_up()
            far.hang_up()
            self.world.run(0.5)
        caller, callee = self.connected(alice, bob)
        tablet.dial("101", extra=f"Replaces: {caller.replaces}\r\n")
        self.world.run(0.5)
        callee.hang_up()
        self.world.run(0.5)
        self.assertEqual(len(self.world.exchange.calls), 0)
        del caller, callee, consultation, far
        self.check_memory()

    def without_collector(self) -> None:
        """Whatever is in a cycle stays from now on."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def check_memory(self) -> None:
        """64*T1 later there is no object of a call."""
        self.world.run(SETTLED)
        for phone in self.world.phones:
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
