"""Transfers to what the exchange itself answers: sound works there, also after a hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sdp.description import Media
from tests.flows.transferring import HOLDS, OK, TRYING, TransferTests, direction

if TYPE_CHECKING:
    from pbx.testing.phone_call import PhoneCall


class ApplicationTests(TransferTests):
    """Transfers to what the exchange itself answers."""

    def echoes(self, call: PhoneCall) -> bool:
        """Whether ``call`` hears itself."""
        return self.hear(call, call)

    def test_echo(self) -> None:
        """The transferee hears itself; nobody asked it for anything, and the transferor is free."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("600")
        self.world.run(1.0)
        self.assertEqual((caller.told, caller.state), ([TRYING, OK], "over"))
        self.assertTrue(self.echoes(callee))
        self.assertEqual(callee.offers, [])
        callee.hang_up()
        self.nobody_calls()
        self.assertEqual(self.last_record().outcome, "answered")

    def test_echo_of_a_held_call(self) -> None:
        """A held transferee is taken back by an offer of ours, however it was held."""
        for hold in HOLDS:
            with self.subTest(hold=hold.__name__):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                hold(caller)
                self.world.run(0.5)
                caller.refer("600")
                self.world.run(1.0)
                self.assertEqual(direction(callee), "sendrecv")
                self.assertTrue(self.echoes(callee))
                self.check_nothing_is_left(self.world)

    def test_refuses_that_offer(self) -> None:
        """A held transferee that does not take it comes back to the transferor; one that has glare is asked again."""
        for status in (488, 491):
            with self.subTest(status=status):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                caller.hold()
                self.world.run(0.5)
                callee.refuses_offers_with = status
                caller.refer("600")
                self.world.run(0.5)
                callee.refuses_offers_with = 0
                self.world.run(4.0)
                if status == 491:
                    self.assertTrue(self.echoes(callee))
                else:
                    self.assertEqual(caller.told, [TRYING, "SIP/2.0 488 Not Acceptable Here"])
                    caller.resume()
                    self.world.run(0.5)
                    self.both_talk(caller, callee)
                self.check_nothing_is_left(self.world)

    def test_tone_in_another_codec(self) -> None:
        """A transferee that talked in a codec that we do not speak is offered ours before the tone begins."""
        self.alice.takes_video = self.bob.takes_video = True
        caller, callee = self.connected(self.alice, self.bob)
        offer = callee.current()
        offer.media[0] = Media("audio", callee.audio.address[1], "RTP/AVP", ["9"], ["a=rtpmap:9 G722/8000"])
        caller.accepts_offers = False
        callee.reoffer(offer)
        self.world.run(0.3)
        answer = caller.current()
        answer.media[0] = Media("audio", caller.audio.address[1], "RTP/AVP", ["9"], ["a=rtpmap:9 G722/8000"])
        caller.negotiation.answer_sent(answer)
        caller.accept_offer(caller.negotiation.stamp(answer))
        self.world.run(0.3)
        caller.refer("601")
        self.world.run(0.5)
        before = len(callee.heard)
        self.world.run(1.0)
        self.assertGreater(len(callee.heard) - before, 45)
        assert callee.remote is not None
        self.assertEqual(callee.remote.media[0].formats[:2], ["0", "8"])

    def test_consulted_the_echo(self) -> None:
        """An attended transfer to somebody who is an application: it answers the transferee anew."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation = self.alice.dial("600")
        self.world.run(0.5)
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.assertEqual((consultation.state, caller.state), ("over", "over"))
        self.assertTrue(self.echoes(callee))
