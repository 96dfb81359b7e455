"""What happens within a call: RFC 3261 §14, RFC 3264 §8, RFC 3311, RFC 6337; RFC 3665 §3.7 and RFC 5359 §2.1 for hold."""

from __future__ import annotations

from pbx.sdp.description import parse_description
from pbx.sip import build
from pbx.testing.phone import Phone
from pbx.testing.phone_call import PhoneCall
from tests.flows.base import FlowTests


class ConnectedTests(FlowTests):
    """A call between 100 and 101 is there."""

    configuration = ""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones(self.configuration)
        self.caller, self.callee = self.connected(self.alice, self.bob)

    def both_talk(self) -> None:
        """Media flows both ways."""
        heard, listened = len(self.caller.heard), len(self.callee.heard)
        self.caller.say(2)
        self.callee.say(3)
        self.world.run(0.5)
        self.assertEqual((len(self.caller.heard) - heard, len(self.callee.heard) - listened), (3, 2))

    def assert_alive(self) -> None:
        self.assertEqual((self.caller.state, self.callee.state), ("talking", "talking"))


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


class GlareTests(ConnectedTests):
    """Two offers at once (RFC 3261 §14.1, §14.2)."""

    def test_both_offer_at_once(self) -> None:
        """Both get 491, both ends keep what they had, and the next offer goes through."""
        self.caller.hold()
        self.callee.hold()
        self.world.run(1.0)
        self.assertEqual((self.caller.refused_offers, self.callee.refused_offers), ([491], [491]))
        self.assert_alive()
        self.caller.resume()
        self.world.run(0.5)
        self.assertEqual(self.caller.answered_offers, 1)
        self.both_talk()

    def test_while_the_other_side_thinks(self) -> None:
        """A second offer from the other side while the first waits for its answer there: 491."""
        self.callee.accepts_offers = False
        self.caller.hold()
        self.world.run(1.0)
        # A phone that is asked and asks itself.
        self.callee.negotiation.offer_refused()
        self.callee.session._offer_in = None
        self.callee.hold()
        self.world.run(1.0)
        self.assertEqual(self.callee.refused_offers, [491])

    def test_the_same_side_twice(self) -> None:
        """A second re-INVITE before the first is answered: 500 with Retry-After (§14.2)."""
        self.callee.accepts_offers = False
        self.caller.hold()
        self.world.run(0.5)
        self.caller.session._offer_out = None
        self.caller.negotiation.offer_refused()
        self.caller.resume()
        self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [500])
        self.assertIsNotNone(self.alice.received(500)[0].first("retry-after"))
        self.callee.accept_offer()
        self.world.run(0.5)
        self.assert_alive()


class RefusedChangeTests(ConnectedTests):
    """A change that is refused leaves the call as it was (RFC 3261 §14.1)."""

    def test_488(self) -> None:
        """The other side refuses with 488, the asker hears it, both talk on."""
        self.callee.refuses_offers_with = 488
        self.caller.hold()
        self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [488])
        self.assert_alive()
        self.both_talk()
        self.callee.refuses_offers_with = 0
        self.caller.hold()
        self.world.run(0.5)
        self.assertEqual(self.caller.answered_offers, 1)

    def test_other_refusals_are_passed_on(self) -> None:
        """Also 500, 603 and the like."""
        for status in (500, 603, 403):
            self.callee.refuses_offers_with = status
            self.caller.hold()
            self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [500, 603, 403])
        self.assert_alive()

    def test_challenge_is_not_passed_on(self) -> None:
        """A phone that challenges our re-INVITE: its 401 is no challenge to the other one."""
        self.callee.refuses_offers_with = 401
        self.caller.hold()
        self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [488])
        self.assert_alive()

    def test_481_ends_the_call(self) -> None:
        """481 to a re-INVITE: that dialog is gone, so the call is (RFC 3261 §12.2.1.2)."""
        self.callee.refuses_offers_with = 481
        self.caller.hold()
        self.world.run(0.5)
        self.assertEqual(self.caller.state, "over")

    def test_silence_ends_the_call(self) -> None:
        """No answer at all to a re-INVITE: as 408 (§12.2.1.2)."""
        self.bob.vanish()
        self.caller.hold()
        self.world.run(33.0)
        self.assertEqual(self.caller.state, "over")

    def test_unreadable_offer(self) -> None:
        """An offer that is no SDP is refused with 400 or 488, and nothing else happens."""
        self.caller.offer("v=0\r\nm=audio x RTP/AVP 0\r\n")
        self.world.run(0.5)
        self.assertIn(self.caller.refused_offers, ([400], [488]))
        self.assert_alive()
        self.assertEqual(self.callee.offers, [])

    def test_fewer_streams(self) -> None:
        """An offer with fewer m-lines than were agreed on is refused with 488 (RFC 3264 §8)."""
        self.caller.offer("v=0\r\no=- 1 9 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n")
        self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [488])
        self.assert_alive()

    def test_other_content(self) -> None:
        """A re-INVITE with a body that is no SDP gets 415 (RFC 3261 §8.2.3)."""
        dialog = self.caller.session.dialog
        assert dialog is not None
        request = dialog.request("INVITE", self.alice.stack.ids, self.caller.session.contact, b"<x/>", "application/xml")
        self.alice.driver.request(request, dialog.flow, self.alice)
        self.world.run(0.5)
        self.assertEqual(len(self.alice.received(415)), 1)
        self.assert_alive()

    def test_unknown_method(self) -> None:
        """A method that we do not know within a dialog: 405 with Allow, and the call goes on."""
        self.caller.ask("PUBLISH")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [405])
        self.assertIn("INVITE", self.alice.received(405)[0].first("allow"))
        self.assert_alive()

    def test_unknown_extension(self) -> None:
        """A re-INVITE that requires what we have not: 420 with Unsupported (RFC 3261 §8.2.2.3)."""
        dialog = self.caller.session.dialog
        assert dialog is not None
        extra = self.caller.session.contact + build.lines(("Require", "foo"))
        self.alice.driver.request(dialog.request("INVITE", self.alice.stack.ids, extra), dialog.flow, self.alice)
        self.world.run(0.5)
        self.assertEqual([response.first("unsupported") for response in self.alice.received(420)], ["foo"])
        self.assert_alive()

    def test_cancelled_too_late(self) -> None:
        """The CANCEL of a hold crosses the other side's 200: a re-INVITE tells that one what counts, and both hear each other (§9.1)."""
        self.callee.accepts_offers = False
        self.caller.hold()
        self.world.run(0.2)
        transaction = self.caller.session._offer_out
        assert transaction is not None
        self.alice.driver.carry_out(transaction.cancel(self.world.clock.seconds()))  # type: ignore[attr-defined]
        self.world.run(0.015)
        self.assertEqual(self.bob.received("CANCEL"), [], "it is on its way")
        self.callee.accepts_offers = True
        self.callee.accept_offer()
        self.world.run(1.0)
        self.assertEqual(self.caller.refused_offers, [487])
        self.assertIn("a=sendrecv", self.callee.offers[-1] or "")
        self.assertEqual(len(self.callee.offers), 2)
        before = len(self.caller.heard), len(self.callee.heard)
        self.caller.say(3)
        self.callee.say(2)
        self.world.run(0.3)
        self.assertEqual((len(self.caller.heard) - before[0], len(self.callee.heard) - before[1]), (2, 3))

    def test_cancelled_change(self) -> None:
        """A re-INVITE is taken back by CANCEL: 487, the other side gets a CANCEL too, the call lives (§9.2)."""
        self.callee.accepts_offers = False
        self.caller.hold()
        self.world.run(0.5)
        transaction = self.caller.session._offer_out
        assert transaction is not None
        self.alice.driver.carry_out(transaction.cancel(self.world.clock.seconds()))  # type: ignore[attr-defined]
        self.world.run(0.5)
        self.assertEqual(self.caller.refused_offers, [487])
        self.assertEqual(len(self.bob.received("CANCEL")), 1)
        self.assertEqual(len(self.bob.sent(487)), 1)
        self.assert_alive()
        self.callee.accepts_offers = True
        self.caller.resume()
        self.world.run(1.0)
        self.assertEqual(self.caller.answered_offers, 1)
        self.both_talk()


class OddAnswerTests(FlowTests):
    """An answer that does not fit its offer ends that call and no other (RELIABILITY, faults of others)."""

    TWO_STREAMS = (
        "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\n"
        "m=audio 4000 RTP/AVP 0\r\nm=image 4002 udptl t38\r\n"
    )

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def test_other_streams_in_the_answer(self) -> None:
        """One m-line offered, two answered: BYE to the callee, 502 to the caller, and another call is not touched."""
        carol = self.world.phone("102")
        other, _ = self.connected(self.alice, carol)
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].answer(self.TWO_STREAMS)
        self.world.run(1.0)
        self.assertEqual((call.state, call.statuses[-1], self.bob.incoming[0].state), ("over", 502, "over"))
        self.assertEqual(other.state, "talking")

    def test_no_description_in_the_answer(self) -> None:
        """A 200 without SDP to an INVITE with an offer: BYE, and the caller gets 502 (RFC 3261 §13.2.1)."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].answer(None)
        self.world.run(1.0)
        self.assertEqual((call.statuses[-1], self.bob.incoming[0].state), (502, "over"))

    def test_unreadable_answer(self) -> None:
        """A 200 with SDP that cannot be read."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].answer("v=0\r\nm=audio 1\r\n")
        self.world.run(1.0)
        self.assertEqual((call.statuses[-1], self.bob.incoming[0].state), (502, "over"))

    def test_to_a_change(self) -> None:
        """The answer to a re-INVITE has other m-lines: both get BYE (RFC 3264 §6)."""
        call, answered = self.connected(self.alice, self.bob)
        answered.accepts_offers = False
        call.hold()
        self.world.run(0.5)
        answered.accept_offer(self.TWO_STREAMS)
        self.world.run(1.0)
        self.assertEqual((call.state, answered.state), ("over", "over"))

    def test_t38_answer_without_an_offer(self) -> None:
        """A fax answer where audio was offered."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].answer(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=image 4002 udptl t38\r\n"
        )
        self.world.run(1.0)
        self.assertEqual((call.statuses[-1], self.bob.incoming[0].state), (502, "over"))


class DelayedOfferTests(FlowTests):
    """INVITE without SDP: the offer is in the 200, the answer in the ACK (RFC 3261 §13.2.1, RFC 3725)."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def test_from_the_caller(self) -> None:
        """The callee is asked for an offer, its offer goes to the caller, the caller's answer in the ACK to the callee."""
        call, answered = self.connected(self.alice, self.bob, sdp=None)
        self.assertIsNone(self.bob.received("INVITE")[0].sdp)
        self.assertIsNotNone(self.bob.received("ACK")[0].sdp)
        self.assertEqual(len(self.bob.sent(200, "INVITE")), 1)
        call.say(2)
        answered.say(3)
        self.world.run(0.5)
        self.assertEqual((len(call.heard), len(answered.heard)), (3, 2))

    def test_ack_without_an_answer(self) -> None:
        """The caller's ACK has no answer: both get BYE."""
        call = self.alice.dial("101", None)
        call._delayed = False
        call._take_answer = lambda sdp: self.alice.driver.carry_out(  # type: ignore[method-assign]
            call.session.acknowledge(None, self.world.clock.seconds())
        )
        self.world.run(0.5)
        self.bob.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual((call.state, self.bob.incoming[0].state), ("over", "over"))

    def test_ack_with_an_answer_that_does_not_fit(self) -> None:
        """The caller's answer in the ACK has other m-lines: both get BYE."""
        call = self.alice.dial("101", None)
        call._take_answer = lambda sdp: self.alice.driver.carry_out(  # type: ignore[method-assign]
            call.session.acknowledge(OddAnswerTests.TWO_STREAMS, self.world.clock.seconds())
        )
        self.world.run(0.5)
        self.bob.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual((call.state, self.bob.incoming[0].state), ("over", "over"))

    def test_callee_hangs_up_before_the_ack(self) -> None:
        """The callee that waits for its ACK with the answer hangs up."""
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK sip:101@192.0.2.1")
        call = self.alice.dial("101", None)
        self.world.run(0.5)
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(self.bob.incoming[0].state, "over")
        self.assertEqual(len(self.bob.received("ACK")), 1)

    def test_in_a_change(self) -> None:
        """A re-INVITE without SDP asks the other side for an offer; its answer comes back in the ACK."""
        call, answered = self.connected(self.alice, self.bob)
        for asker, other in ((call, answered), (answered, call)):
            asker.offer(None)
            self.world.run(1.0)
            self.assertEqual((asker.answered_offers, other.offers[-1]), (1, None))
        call.say(2)
        answered.say(3)
        self.world.run(0.5)
        self.assertEqual((len(call.heard), len(answered.heard)), (3, 2))
        call.hold()
        self.world.run(1.0)
        self.assertEqual(call.answered_offers, 2)

    def test_early_media_means_nothing(self) -> None:
        """SDP in an unreliable 183 to an INVITE without an offer is no offer (RFC 3261 §13.2.1): the caller hears that it rings."""
        self.bob.rings = False
        call = self.alice.dial("101", None)
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.ring(callee.negotiation.stamp(callee.own_offer()))
        self.world.run(0.5)
        self.assertEqual(call.statuses, [183])
        callee.answer()
        self.world.run(0.5)
        self.assertEqual((call.state, callee.state), ("talking", "talking"))


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


class InDialogRequestTests(ConnectedTests):
    """INFO and MESSAGE go across, OPTIONS is answered here."""

    def test_info(self) -> None:
        """INFO with its body reaches the other side, and its answer comes back (RFC 6086)."""
        self.caller.info(b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay")
        self.callee.info(b"Signal=6\r\nDuration=160\r\n", "application/dtmf-relay")
        self.world.run(0.5)
        self.assertEqual((self.caller.replies, self.callee.replies), ([200], [200]))
        for phone, body in ((self.bob, b"Signal=5\r\nDuration=160\r\n"), (self.alice, b"Signal=6\r\nDuration=160\r\n")):
            info = phone.received("INFO")[0]
            self.assertEqual((info.body, info.content_type), (body, "application/dtmf-relay"))

    def test_message(self) -> None:
        """MESSAGE within the dialog (RFC 3428 §4)."""
        self.caller.ask("MESSAGE", "Grüße".encode(), "text/plain;charset=UTF-8")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [200])
        self.assertEqual(self.bob.received("MESSAGE")[0].body.decode(), "Grüße")

    def test_options(self) -> None:
        """OPTIONS within the dialog: 200 with what we can do."""
        self.caller.ask("OPTIONS")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [200])
        self.assertEqual(self.bob.received("OPTIONS"), [])

    def test_answer_lost(self) -> None:
        """The other side never answers an INFO: the asker gets 408, or 503, or the call ends; it is never left waiting."""
        self.bob.loses = lambda data, is_sent: is_sent and b"CSeq: " in data and b" INFO\r\n" in data
        self.caller.info(b"x", "text/plain")
        self.world.run(40.0)
        self.assertTrue(self.caller.replies or self.caller.state == "over")

    def test_hung_up_meanwhile(self) -> None:
        """The call ends while an INFO waits for its answer."""
        self.bob.loses = lambda data, is_sent: is_sent and b" INFO\r\n" in data
        self.caller.info(b"x", "text/plain")
        self.world.run(0.5)
        self.callee.hang_up()
        self.world.run(40.0)
        self.assertEqual(self.caller.state, "over")

    def test_out_of_order(self) -> None:
        """A request with an older CSeq than the last gets 500 (RFC 3261 §12.2.2)."""
        dialog = self.caller.session.dialog
        assert dialog is not None
        dialog.local_cseq -= 5
        self.caller.info(b"x", "text/plain")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [500])
        self.assert_alive()

    def test_from_elsewhere(self) -> None:
        """A phone that has moved to another address: the change goes on by its new Contact (target refresh, §12.2.1.1)."""
        self.callee.hold()
        self.world.run(0.5)
        self.assertEqual(self.callee.answered_offers, 1)
