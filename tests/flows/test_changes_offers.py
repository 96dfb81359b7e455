"""Answers that do not fit their offer, and offers that come in the 200 (RFC 3261 §13.2.1, RFC 3264 §6)."""

from __future__ import annotations

from tests.flows.base import FlowTests


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
