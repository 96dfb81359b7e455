"""Changes within a call: hold, video, and what comes early (RFC 3261 §14, RFC 3264 §8, RFC 3311; RFC 3665 §3.7, RFC 5359 §2.1 for hold)."""

from __future__ import annotations

from pbx.sdp.description import parse_description
from pbx.testing.phone import Phone
from pbx.testing.phone_call import PhoneCall
from tests.flows.base import FlowTests
from tests.flows.changing import ConnectedTests


class HoldTests(ConnectedTests):
    """Hold and resume by re-INVITE and UPDATE (RFC 3264 §8.4, RFC 5359 §2.1)."""

    def direction(self, call: PhoneCall) -> str:
        assert call.remote is not None
        return call.remote.direction_of(call.remote.media[0])

    def test_hold_and_resume(self) -> None:
        """The other side gets sendonly, answers recvonly, and both talk again after the resume."""
        for who, other in ((self.caller, self.callee), (self.callee, self.caller)):
            who.hold()
            self.world.run(0.5)
            self.assertEqual((self.direction(other), self.direction(who)), ("sendonly", "recvonly"))
            who.resume()
            self.world.run(0.5)
            self.assertEqual((self.direction(other), self.direction(who)), ("sendrecv", "sendrecv"))
            self.both_talk()

    def test_hold_by_update(self) -> None:
        """UPDATE with an offer does the same without an ACK (RFC 3311 §5.2)."""
        self.caller.hold("UPDATE")
        self.world.run(0.5)
        self.assertEqual((self.direction(self.callee), self.direction(self.caller)), ("sendonly", "recvonly"))
        self.assertEqual(self.caller.answered_offers, 1)

    def test_both_hold(self) -> None:
        """Each side holds the other, and they resume one after the other (RFC 3264 §8.4)."""
        self.caller.hold()
        self.world.run(0.5)
        self.callee.hold()
        self.world.run(0.5)
        self.caller.resume()
        self.world.run(0.5)
        self.callee.resume()
        self.world.run(0.5)
        self.assertEqual((self.caller.answered_offers, self.callee.answered_offers), (2, 2))
        self.caller.resume()
        self.world.run(0.5)
        self.both_talk()

    def test_old_hold(self) -> None:
        """c=0.0.0.0, the hold of RFC 2543, reaches the other side as a hold, and the resume undoes it."""
        offer = self.caller.current()
        offer.lines = ["c=IN IP4 0.0.0.0" if line.startswith("c=") else line for line in offer.lines]
        self.caller.reoffer(offer)
        self.world.run(0.5)
        assert self.callee.remote is not None
        media = self.callee.remote.media[0]
        held = self.callee.remote.address_of(media) == "0.0.0.0" or self.direction(self.callee) in ("sendonly", "inactive")
        self.assertTrue(held, str(self.callee.remote))
        self.assertGreater(media.port, 0)
        offer = self.caller.own_offer()
        self.caller.reoffer(offer)
        self.world.run(0.5)
        self.both_talk()

    def test_a_held_call_outlives_silence(self) -> None:
        """No media is expected of a held call, so it is not cleared for want of it (DESIGN §6)."""
        offer = self.caller.current()
        offer.media[0].set_direction("inactive")
        self.caller.reoffer(offer)
        self.world.run(200.0)
        self.assert_alive()

    def test_origin_is_constant(self) -> None:
        """``o=`` is ours, its id stays, its version grows by one when something changes (RFC 3264 §8)."""
        self.caller.hold()
        self.world.run(0.5)
        self.caller.resume()
        self.world.run(0.5)
        origins = [parse_description(invite.sdp or "").origin for invite in self.bob.received("INVITE")]
        values = [str(origin).split() for origin in origins]
        self.assertEqual(len({value[1] for value in values}), 1)
        self.assertEqual([int(value[2]) for value in values], [1, 2, 3])


class VideoTests(ConnectedTests):
    """Video is added and removed in mid-call (REFERENCE §7)."""

    def test_added_and_removed(self) -> None:
        """Both see each other while it is there; its m-line stays with port 0 and its ports go back."""
        self.alice.takes_video = self.bob.takes_video = True
        self.caller.add_video()
        self.world.run(0.5)
        assert self.caller.remote is not None
        self.assertEqual([media.kind for media in self.caller.remote.media], ["audio", "video"])
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 8)
        self.caller.show(3)
        self.callee.show(2)
        self.world.run(0.5)
        self.assertEqual((len(self.callee.seen), len(self.caller.seen)), (3, 2))
        self.both_talk()
        self.caller.drop_video()
        self.world.run(0.5)
        assert self.callee.remote is not None
        self.assertEqual([media.port > 0 for media in self.callee.remote.media], [True, False])
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 4)
        self.both_talk()

    def test_refused(self) -> None:
        """The other side takes no video: port 0 in the answer, and audio goes on."""
        self.caller.add_video()
        self.world.run(0.5)
        assert self.caller.remote is not None
        self.assertEqual([media.port > 0 for media in self.caller.remote.media], [True, False])
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 4)
        self.both_talk()

    def test_by_the_callee(self) -> None:
        """The callee adds it."""
        self.alice.takes_video = self.bob.takes_video = True
        self.callee.add_video()
        self.world.run(0.5)
        self.caller.show(3)
        self.callee.show(2)
        self.world.run(0.5)
        self.assertEqual((len(self.callee.seen), len(self.caller.seen)), (3, 2))

    def test_again(self) -> None:
        """Video that was dropped comes back on its old m-line."""
        self.alice.takes_video = self.bob.takes_video = True
        for step in (self.caller.add_video, self.caller.drop_video, self.caller.add_video):
            step()
            self.world.run(0.5)
        self.caller.show(3)
        self.world.run(0.5)
        self.assertEqual(len(self.callee.seen), 3)
        assert self.caller.remote is not None
        self.assertEqual(len(self.caller.remote.media), 2)


class EarlyChangeTests(FlowTests):
    """A change that comes too early."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def test_callee_offers_before_the_callers_ack(self) -> None:
        """The callee changes the session while the caller's ACK is lost: the change waits for that ACK, and is then done."""
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ") and self.world.clock.seconds() < 3.0
        call = self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.answer()
        self.world.run(0.1)
        callee.hold()
        self.world.run(1.0)
        self.assertEqual((callee.answered_offers, call.offers), (0, []))
        self.world.run(4.0)
        self.assertEqual((callee.answered_offers, len(call.offers)), (1, 1))

    def test_right_after_the_ack(self) -> None:
        """The callee sends its re-INVITE the moment it has our ACK, as gateways do."""
        self.bob.answers_at_once = True
        call = self.alice.dial("101")
        while not self.bob.received("ACK"):
            self.world.run(0.001)
        self.bob.incoming[0].hold()
        self.world.run(1.0)
        self.assertEqual((self.bob.incoming[0].answered_offers, call.state), (1, "talking"))

    def test_never_acknowledged(self) -> None:
        """The caller's ACK never comes: the change that waits gets 487 when the call ends."""
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ")
        self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.answer()
        self.world.run(0.1)
        callee.hold()
        self.world.run(34.0)
        self.assertEqual((callee.refused_offers, callee.state), ([487], "over"))

    def test_caller_hangs_up_in_a_change(self) -> None:
        """BYE while a re-INVITE waits for its answer: that gets 487 (RFC 3261 §15.1.2), and no re-INVITE follows a BYE."""
        call, answered = self.connected(self.alice, self.bob)
        answered.accepts_offers = False
        call.hold()
        self.world.run(0.5)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(answered.state, "over")
        self.assertEqual(len(self.alice.received(487, "INVITE")), 1)

    def test_change_after_bye(self) -> None:
        """A re-INVITE that comes after the BYE gets 481."""
        call, _ = self.connected(self.alice, self.bob)
        dialog = call.session.dialog
        assert dialog is not None
        call.hang_up()
        self.world.run(0.5)
        self.alice.driver.request(dialog.request("INVITE", self.alice.stack.ids, call.session.contact), dialog.flow, self.alice)
        self.world.run(0.5)
        self.assertEqual(len(self.alice.received(481, "INVITE")), 1)

    def test_update_before_the_answer(self) -> None:
        """A caller's UPDATE with an offer while it rings: its first offer has no answer yet, so 491 or 500 (RFC 3311 §5.2)."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        response = call.responses[-1]
        dialog = self.early_dialog(self.alice, call)
        extra = call.session.contact
        body = call.negotiation.stamp(call.own_offer()).encode()
        self.alice.driver.request(dialog.request("UPDATE", self.alice.stack.ids, extra, body, "application/sdp"), dialog.flow, self.alice)
        self.world.run(0.5)
        self.assertTrue(response.to_tag)
        self.assertIn([len(self.alice.received(status, "UPDATE")) for status in (491, 500)], ([1, 0], [0, 1]))
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_bye_of_an_early_dialog(self) -> None:
        """The caller ends with BYE what still rings: 200, 487 to the INVITE, CANCEL to the callee (RFC 3261 §15.1.2)."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        dialog = self.early_dialog(self.alice, call)
        self.alice.driver.request(dialog.request("BYE", self.alice.stack.ids), dialog.flow, self.alice)
        self.world.run(0.5)
        self.assertEqual((len(self.alice.received(200, "BYE")), call.statuses), (1, [180, 487]))
        self.assertEqual(self.bob.incoming[0].state, "over")

    def early_dialog(self, phone: Phone, call: PhoneCall):  # type: ignore[no-untyped-def]
        from pbx.sip.dialog import Dialog

        session = call.session
        return Dialog.as_uac(session._invite, call.responses[-1], phone.flow)  # type: ignore[union-attr]
