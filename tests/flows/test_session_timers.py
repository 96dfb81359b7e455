"""Session timers (RFC 4028) on both legs: refreshed, expired, refused."""

from __future__ import annotations

from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.testing.network import WireFlow
from pbx.testing.phone import Phone
from tests.flows.base import FlowTests

LONG = "[media]\nsilence_timeout = 100000.0\n"


class SessionTimerTests(FlowTests):
    """Calls that last for hours."""

    def test_refreshed_by_update(self) -> None:
        """An hour later both phones, which take UPDATE, have been asked without a body, and the call is there (§7.4)."""
        alice, bob = self.two_phones(LONG)
        call, answered = self.connected(alice, bob)
        self.world.run(3700.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))
        self.assertTrue(alice.received("UPDATE") or alice.sent("UPDATE"))
        self.assertTrue(bob.received("UPDATE") or bob.sent("UPDATE"))
        self.assertEqual({update.body for phone in (alice, bob) for update in phone.received("UPDATE")}, {b""})

    def test_refreshed_by_reinvite(self) -> None:
        """A phone that does not take UPDATE gets a re-INVITE with the description that it has already (§7.4)."""
        alice, bob = self.two_phones(LONG)
        self.make_old(bob)
        call, answered = self.connected(alice, bob)
        answered.session.timer.stop()
        self.world.run(3700.0)
        invites = bob.received("INVITE")
        self.assertGreaterEqual(len(invites), 3)
        self.assertEqual(len({invite.body for invite in invites}), 1)
        self.assertEqual(bob.received("UPDATE"), [])
        self.assertEqual((call.state, answered.state), ("talking", "talking"))
        self.assertEqual(answered.answered_offers, 0)
        call.say(2)
        self.world.run(0.5)
        self.assertEqual(len(answered.heard), 2)

    def make_old(self, phone: Phone) -> None:
        """What this phone says does not name UPDATE in Allow, nor session timers."""
        original = phone.wire.write

        def write(data: bytes, flow: WireFlow) -> None:
            lines = data.replace(b", UPDATE", b"").split(b"\r\n")
            original(b"\r\n".join(line for line in lines if not line.startswith((b"Session-Expires:", b"Supported:"))), flow)

        phone.wire.write = write  # type: ignore[method-assign]

    def test_callee_is_gone(self) -> None:
        """A phone that has lost its power: our refresh gets no answer, and the caller gets BYE within the interval (§10)."""
        alice, bob = self.two_phones(LONG)
        call, _ = self.connected(alice, bob)
        bob.vanish()
        self.world.run(1801.0)
        self.assertEqual(call.state, "over")

    def test_caller_is_gone(self) -> None:
        """The same for a caller."""
        alice, bob = self.two_phones(LONG)
        _, answered = self.connected(alice, bob)
        alice.vanish()
        self.world.run(1801.0)
        self.assertEqual(answered.state, "over")

    def test_refresher_that_does_not_refresh(self) -> None:
        """The phone has promised to refresh and does not: BYE before the interval is over (§10)."""
        alice, bob = self.two_phones(LONG)
        call, _ = self.connected(alice, bob, extra="")
        alice.loses = lambda data, is_sent: (is_sent and data.startswith((b"UPDATE", b"INVITE"))) or (not is_sent and b"UPDATE" in data[:8])
        self.world.run(1801.0)
        self.assertEqual(call.state, "over")

    def test_too_short(self) -> None:
        """Session-Expires below 90: 422 with Min-SE 90 (§9)."""
        alice, bob = self.two_phones()
        alice.stack.session_timer = 0
        alice.dial("101", extra="Session-Expires: 60\r\n")
        self.world.run(0.5)
        self.assertEqual([response.first("min-se") for response in alice.received(422)], ["90"])
        self.assertEqual(bob.incoming, [])

    def test_too_short_in_a_change(self) -> None:
        """The same in a re-INVITE: 422, and the call goes on."""
        alice, bob = self.two_phones()
        alice.stack.session_timer = 0
        call, _ = self.connected(alice, bob)
        dialog = call.session.dialog
        assert dialog is not None
        extra = call.session.contact + "Supported: timer\r\nSession-Expires: 30\r\n"
        alice.driver.request(dialog.request("UPDATE", alice.stack.ids, extra), dialog.flow, alice)
        self.world.run(0.5)
        self.assertEqual(len(alice.received(422)), 1)
        self.assertEqual(call.state, "talking")

    def test_callee_wants_longer(self) -> None:
        """The phone answers our refresh with 422 and Min-SE: we ask again with what it wants (§7.3)."""
        alice, bob = self.two_phones(LONG + "[sip]\nsession_timer = 120.0\n")
        alice.stack.session_timer = 0
        bob.stack.session_timer = 0
        call, answered = self.connected(alice, bob)
        answered.session.timer._min_se = 600
        self.world.run(400.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_initial_422(self) -> None:
        """The phone refuses our INVITE with 422: it is sent again with its Min-SE, and the caller hears nothing of it (§7.3)."""
        alice, bob = self.two_phones("[sip]\nsession_timer = 120.0\n")
        alice.stack.session_timer = 0
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].refuse(422, "Min-SE: 300\r\n")
        self.world.run(0.5)
        self.assertEqual(len(bob.incoming), 2)
        first, second = bob.received("INVITE")
        self.assertEqual((second.first("session-expires"), second.first("min-se")), ("300", "300"))
        self.assertEqual((second.call_id, second.cseq.number), (first.call_id, first.cseq.number + 1))
        bob.incoming[1].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, bob.incoming[1].state), ("talking", "talking"))

    def test_initial_422_for_ever(self) -> None:
        """A phone that always says 422 is not asked for ever."""
        alice, bob = self.two_phones()
        bob.refuses_with = 422
        call = alice.dial("101")
        self.world.run(2.0)
        self.assertLessEqual(len(bob.incoming), 2)
        self.assertEqual(call.state, "over")

    def test_phone_without_timers(self) -> None:
        """Two phones that know no session timers: we refresh alone, and the call lasts (§7.2)."""
        alice, bob = self.two_phones(LONG)
        alice.stack.session_timer = bob.stack.session_timer = 0
        call, answered = self.connected(alice, bob)
        self.world.run(4000.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_change_moves_the_refresh(self) -> None:
        """A re-INVITE refreshes as well: no other follows it at the old time (§7.4)."""
        alice, bob = self.two_phones(LONG)
        call, answered = self.connected(alice, bob)
        self.world.run(800.0)
        call.hold()
        self.world.run(0.5)
        call.resume()
        self.world.run(700.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))
        self.world.run(2000.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_refresh_is_refused(self) -> None:
        """A refresh that meets 500 or 491 is tried again soon: the call is not lost for it."""
        alice, bob = self.two_phones(LONG)
        self.make_old(bob)
        call, answered = self.connected(alice, bob)
        answered.session.timer.stop()
        answered.refuses_offers_with = 491
        self.world.run(905.0)
        answered.refuses_offers_with = 0
        self.world.run(3000.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_update_is_not_taken_after_all(self) -> None:
        """A phone that names UPDATE in Allow and answers it with 405 is refreshed by re-INVITE."""
        alice, bob = self.two_phones(LONG)
        bob.stack.session_timer = 0
        call, answered = self.connected(alice, bob)
        answered.session.timer.stop()
        leg = next(iter(self.world.exchange.calls.values())).legs[1]
        leg.session.timer.confirmed(bob.sent(180)[0], self.world.clock.seconds())
        self.world.service.driver.carry_out(leg.session._rearm())
        self.refuse_updates(bob)
        self.world.run(950.0)
        self.assertEqual((len(bob.received("UPDATE")), len(bob.received("INVITE"))), (1, 2))
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def refuse_updates(self, phone: Phone) -> None:
        """It answers each UPDATE with 405, whatever it says in Allow."""
        arrived = phone.arrived

        def hear(request: Request, flow: Flow) -> None:
            if request.method == "UPDATE":
                phone.driver.carry_out(phone.stack.transactions.respond_stateless(request, flow, 405))
            else:
                arrived(request, flow)

        phone.arrived = hear  # type: ignore[method-assign]
