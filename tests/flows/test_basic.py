"""Calls between two phones: the figures of RFC 3665 §3 that a B2BUA can be in."""

from __future__ import annotations

from tests.flows.base import FlowTests


class SessionEstablishmentTests(FlowTests):
    """RFC 3665 §3.1 and §3.2: a call is set up and released."""

    def test_success(self) -> None:
        """The caller hears 100, 180 and 200, both talk, and the BYE of the one reaches the other."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        self.assertEqual([len(alice.received(status, "INVITE")) for status in (100, 180, 200)], [1, 1, 1])
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(answered.state, "over")
        self.assertEqual(len(alice.received(200, "BYE")), 1)
        record = self.last_record()
        self.assertEqual((record.outcome, record.status, record.reason), ("answered", 200, "the caller hung up"))

    def test_callee_hangs_up(self) -> None:
        """The callee's BYE ends the call at the caller (RFC 3665 §3.1, F12)."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        answered.hang_up()
        self.world.run(1.0)
        self.assertEqual(call.state, "over")
        self.assertEqual(self.last_record().reason, "the called party hung up")

    def test_one_dialog_a_side(self) -> None:
        """Both legs have Call-ID, tags and CSeq of their own: nothing is copied across (DESIGN §5.6)."""
        alice, bob = self.two_phones()
        self.connected(alice, bob)
        theirs, ours = alice.sent("INVITE")[-1], bob.received("INVITE")[0]
        self.assertNotEqual(theirs.call_id, ours.call_id)
        self.assertNotEqual(theirs.from_tag, ours.from_tag)
        self.assertEqual(len(ours.vias), 1)

    def test_identity_is_proved(self) -> None:
        """The callee sees the number that was proved, whatever From claimed (RELIABILITY 6)."""
        alice, bob = self.two_phones('[extensions.100]\npassword = "secret of 100"\ndisplay = "Alice"\n')
        alice.dial("101", extra="P-Asserted-Identity: <sip:1@example.org>\r\n")
        self.world.run(0.5)
        invite = bob.received("INVITE")[0]
        self.assertEqual((invite.from_.display, invite.from_.uri.user), ("Alice", "100"))
        self.assertNotIn("p-asserted-identity", invite.headers)

    def test_back_to_back(self) -> None:
        """180 and 200 in one breath: the caller gets both, in their order."""
        alice, bob = self.two_phones()
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].ring()
        bob.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual((call.statuses, call.state), ([180, 200], "talking"))

    def test_answered_at_once(self) -> None:
        """A phone that answers without ringing."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        call = alice.dial("101")
        self.world.run(1.0)
        self.assertEqual((call.statuses, call.state, bob.incoming[0].state), ([200], "talking", "talking"))

    def test_calls_in_both_directions(self) -> None:
        """Two phones that call each other at the same time have two calls."""
        alice, bob = self.two_phones()
        alice.answers_at_once = bob.answers_at_once = True
        one, other = alice.dial("101"), bob.dial("100")
        self.world.run(1.0)
        self.assertEqual((one.state, other.state, len(self.world.exchange.calls)), ("talking", "talking", 2))

    def test_call_to_oneself(self) -> None:
        """A phone that calls its own number rings itself."""
        alice = self.make_world().phone("100")
        call = alice.dial("100")
        self.world.run(0.5)
        alice.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")
        alice.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(call.state, "over")


class CancelTests(FlowTests):
    """RFC 3665 §3.8: the caller gives up."""

    def test_while_it_rings(self) -> None:
        """CANCEL after 180: 200 to the CANCEL, 487 to the INVITE, and the callee gets a CANCEL."""
        alice, bob = self.two_phones()
        call = alice.dial("101")
        self.world.run(1.0)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(len(alice.received(200, "CANCEL")), 1)
        self.assertEqual(len(alice.received(487, "INVITE")), 1)
        self.assertEqual(bob.incoming[0].state, "over")
        self.assertEqual(len(bob.received("CANCEL")), 1)
        self.assertEqual(self.last_record().outcome, "cancelled")

    def test_before_180(self) -> None:
        """CANCEL when only 100 has come; the callee, which has not said anything, gets its CANCEL once it does (RFC 3261 §9.1)."""
        alice, bob = self.two_phones()
        bob.rings = False
        bob.driver.core = _Mute()
        call = alice.dial("101")
        self.world.run(1.0)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(len(alice.received(487, "INVITE")), 1)
        self.assertEqual(bob.received("CANCEL"), [])
        bob.driver.core = bob
        self.world.run(4.0)
        self.assertEqual(len(bob.incoming), 1)
        bob.incoming[0].ring()
        self.world.run(1.0)
        self.assertEqual(len(bob.received("CANCEL")), 1)
        self.assertEqual(bob.incoming[0].state, "over")

    def test_reason_goes_on(self) -> None:
        """The Reason of a CANCEL reaches the phones that ring (RFC 3326)."""
        alice, bob = self.two_phones()
        call = alice.dial("101")
        self.world.run(1.0)
        call.hang_up('Reason: Q.850;cause=31;text="Normal"\r\n')
        self.world.run(1.0)
        self.assertEqual(bob.received("CANCEL")[0].first("reason"), 'Q.850;cause=31;text="Normal"')

    def test_200_crosses_the_cancel(self) -> None:
        """The callee answers while the CANCEL is under way: it gets ACK and BYE, the caller its 487 (RFC 3261 §9.1)."""
        alice, bob = self.two_phones()
        call = alice.dial("101")
        self.world.run(1.0)
        call.hang_up()
        self.world.run(0.015)
        bob.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual(len(alice.received(487, "INVITE")), 1)
        self.assertEqual([len(bob.received(method)) for method in ("CANCEL", "ACK", "BYE")], [1, 1, 1])
        self.assertEqual(bob.incoming[0].state, "over")

    def test_cancel_crosses_the_200(self) -> None:
        """The caller's CANCEL meets our 200: it comes too late, and the caller says BYE to the call it has (RFC 3261 §9.1)."""
        alice, bob = self.two_phones()
        call = alice.dial("101")
        self.world.run(1.0)
        bob.incoming[0].answer()
        self.world.run(0.015)
        call.hang_up()
        self.world.run(2.0)
        self.assertEqual(bob.incoming[0].state, "over")
        self.assertEqual([len(alice.sent(method)) for method in ("CANCEL", "BYE")], [1, 1])
        self.assertEqual(self.last_record().outcome, "answered")


class _Mute:
    """The core of a phone that is not there."""

    def arrived(self, request: object, flow: object) -> None:
        """Nothing is said."""

    def broke(self, user: object, failure: object) -> None:
        """Nothing breaks."""


class UnsuccessfulTests(FlowTests):
    """RFC 3665 §3.6 to §3.10: nobody answers, or somebody says no."""

    def refused_with(self, status: int) -> tuple[list[int], str]:
        alice, bob = self.two_phones()
        bob.refuses_with = status
        call = alice.dial("101")
        self.world.run(1.0)
        self.assertEqual(call.state, "over")
        self.assertEqual(len(bob.received("ACK")), 1)
        return call.statuses, self.last_record().outcome

    def test_busy(self) -> None:
        """486 goes to the caller as it is (RFC 3665 §3.9)."""
        self.assertEqual(self.refused_with(486), ([486], "busy"))

    def test_busy_everywhere(self) -> None:
        """600 is final for the whole call."""
        self.assertEqual(self.refused_with(600), ([600], "busy"))

    def test_decline(self) -> None:
        """603: the callee does not want to."""
        self.assertEqual(self.refused_with(603), ([603], "rejected"))

    def test_unavailable_device(self) -> None:
        """480 of the phone itself (do not disturb) counts as no answer (RFC 3665 §3.10)."""
        self.assertEqual(self.refused_with(480), ([480], "no answer"))

    def test_not_acceptable(self) -> None:
        """488: the offer does not please it."""
        self.assertEqual(self.refused_with(488), ([488], "rejected"))

    def test_service_unavailable(self) -> None:
        """A phone's 503 is not ours: the caller gets 500 (RFC 3261 §16.7 step 6)."""
        self.assertEqual(self.refused_with(503), ([500], "unreachable"))

    def test_challenge(self) -> None:
        """A phone that challenges us is a fault of it, and no challenge to the caller."""
        self.assertEqual(self.refused_with(401), ([500], "unreachable"))

    def test_no_answer(self) -> None:
        """Nobody answers for ``ring_timeout`` seconds: the phone gets CANCEL, the caller 480 (RFC 3665 §3.10)."""
        alice, bob = self.two_phones("[routing]\nring_timeout = 20.0\n")
        call = alice.dial("101")
        self.world.run(20.0)
        self.assertEqual(call.state, "calling")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [180, 480])
        self.assertEqual(len(bob.received("CANCEL")), 1)
        self.assertEqual(self.last_record().outcome, "no answer")

    def test_rings_for_long(self) -> None:
        """Proxies give up what is silent for three minutes: each minute the caller hears again that it rings (RFC 3261 §13.3.1.1)."""
        alice, _ = self.two_phones("[routing]\nring_timeout = 200.0\n")
        call = alice.dial("101")
        self.world.run(199.0)
        times = alice.times("received", 180)
        self.assertEqual([round(at - times[0]) for at in times], [0, 60, 120, 180])
        self.assertEqual(len({response.to_tag for response in alice.received(180)}), 1)
        self.world.run(2.0)
        self.assertEqual(call.statuses[-1], 480)

    def test_ring_timeout_of_the_extension(self) -> None:
        """``ring_timeout`` of the extension counts before that of the exchange."""
        alice, _ = self.two_phones('[extensions.101]\npassword = "secret of 101"\nring_timeout = 5.0\n')
        call = alice.dial("101")
        self.world.run(5.5)
        self.assertEqual(call.statuses, [180, 480])

    def test_phone_is_gone(self) -> None:
        """A phone that says nothing at all: after 64*T1 the caller gets 480 (RFC 3665 §3.10)."""
        alice, bob = self.two_phones()
        bob.vanish()
        call = alice.dial("101")
        self.world.run(33.0)
        self.assertEqual((call.statuses, self.last_record().outcome), ([480], "unreachable"))

    def test_unknown_number(self) -> None:
        """404, for a number that nobody has."""
        alice, _ = self.two_phones()
        call = alice.dial("999")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [404])

    def test_offline(self) -> None:
        """480, for a number whose phone is not registered."""
        alice, _ = self.two_phones()
        call = alice.dial("102")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.last_record().outcome), ([480], "unreachable"))

    def test_moved(self) -> None:
        """3xx to a number that cannot be had: the caller gets 480 and no Contact of anybody."""
        alice, bob = self.two_phones()
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.last_record().outcome), ([181, 480], "unreachable"))
        self.assertNotIn("contact", call.responses[-1].headers)

    def test_error_is_acknowledged_where_the_invite_went(self) -> None:
        """The ACK to an error goes by the way of the INVITE, not to the Contact of the response (RFC 3261 §17.1.1.3)."""
        alice, bob = self.two_phones()
        bob.rings = False
        alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].refuse(486, "Contact: <sip:x@203.0.113.9>\r\n")
        self.world.run(0.5)
        self.assertEqual([packet for packet in self.world.network.packets if packet.destination[0] == "203.0.113.9"], [])


class AcknowledgementTests(FlowTests):
    """The three-way handshake with losses: RFC 3261 §13.2.2.4, §13.3.1.4, §15."""

    def test_200_is_repeated_until_the_ack(self) -> None:
        """Our 200 is repeated at T1, doubling to T2, until the ACK comes."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ") and self.world.clock.seconds() < 6.0
        call = alice.dial("101")
        self.world.run(16.0)
        times = alice.times("received", 200, "INVITE")
        self.assertEqual([round(time - times[0], 1) for time in times], [0.0, 0.5, 1.5, 3.5, 7.5])
        self.assertEqual(call.state, "talking")

    def test_callee_repeats_its_200(self) -> None:
        """A 2xx that comes again is acknowledged again, each time (RFC 3261 §13.2.2.4)."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        bob.loses = lambda data, is_sent: not is_sent and data.startswith(b"ACK ") and self.world.clock.seconds() < 5.0
        call = alice.dial("101")
        self.world.run(8.0)
        self.assertEqual((call.state, bob.incoming[0].state), ("talking", "talking"))
        self.assertEqual(len(bob.sent(200, "INVITE")), 5)
        sent = [packet for packet in self.world.network.packets if packet.data.startswith(b"ACK sip:101@198.51.100.2")]
        self.assertEqual(len(sent), len(bob.sent(200, "INVITE")))
        self.assertEqual(len({packet.data for packet in sent}), 1)

    def test_no_ack_at_all(self) -> None:
        """64*T1 without an ACK: BYE to both (RFC 3261 §13.3.1.4)."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ")
        call = alice.dial("101")
        self.world.run(31.0)
        self.assertEqual((bob.incoming[0].state, alice.received("BYE")), ("talking", []))
        self.world.run(2.0)
        self.assertEqual((call.state, bob.incoming[0].state), ("over", "over"))
        self.assertEqual(self.last_record().reason, "the caller: no ACK to the answer")

    def test_bye_waits_for_the_ack(self) -> None:
        """The callee hangs up before the caller's ACK is there: the caller gets its BYE only after that ACK (RFC 3261 §15)."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ") and self.world.clock.seconds() < 3.0
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].hang_up()
        self.world.run(1.0)
        self.assertEqual(alice.received("BYE"), [])
        self.assertEqual(len(bob.received(200, "BYE")), 1)
        self.world.run(4.0)
        self.assertEqual(len(alice.received("BYE")), 1)
        self.assertEqual(call.state, "over")

    def test_bye_without_any_ack(self) -> None:
        """No ACK comes at all: the BYE goes out after 64*T1 (RFC 3261 §15)."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ")
        alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].hang_up()
        self.world.run(31.0)
        self.assertEqual(alice.received("BYE"), [])
        self.world.run(2.0)
        self.assertEqual(len(alice.received("BYE")), 1)

    def test_caller_hangs_up_before_its_ack_is_there(self) -> None:
        """A caller's BYE that overtakes its lost ACK ends the call for both."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK sip:101@192.0.2.1")
        call = alice.dial("101")
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(bob.incoming[0].state, "over")
        self.assertEqual(len(alice.received(200, "BYE")), 1)

    def test_both_hang_up_while_the_ack_is_lost(self) -> None:
        """Our BYE waits for the ACK when the caller's comes: that one is answered, and ours is not sent any more."""
        alice, bob = self.two_phones()
        bob.answers_at_once = True
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK sip:101@192.0.2.1")
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].hang_up()
        self.world.run(0.2)
        call.hang_up()
        self.world.run(40.0)
        self.assertEqual(len(alice.received(200, "BYE")), 1)
        self.assertEqual(alice.received("BYE"), [])

    def test_both_hang_up_at_once(self) -> None:
        """Two BYEs cross: both get 200."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        call.hang_up()
        answered.hang_up()
        self.world.run(1.0)
        self.assertEqual((len(alice.received(200, "BYE")), len(bob.received(200, "BYE"))), (1, 1))

    def test_bye_is_repeated(self) -> None:
        """The callee never answers our BYE: it is repeated for 64*T1, and the call was over long before."""
        alice, bob = self.two_phones()
        call, _ = self.connected(alice, bob)
        bob.vanish()
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(len(self.world.exchange.calls), 0)
        self.world.run(40.0)
        byes = [packet for packet in self.world.network.packets if packet.data.startswith(b"BYE sip:101@198.51.100.2")]
        self.assertEqual(len(byes), 11)
