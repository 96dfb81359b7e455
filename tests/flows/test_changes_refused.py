"""A change that is refused, taken back, or meets another one: only 481 and silence end the call (RFC 3261 §14, RFC 6337)."""

from __future__ import annotations

from pbx.sip import build
from tests.flows.changing import ConnectedTests


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
