"""Sound and pictures across a transfer: held calls, codecs, video, and the re-INVITE that settles them (RFC 3264 §8, RFC 5589 §7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sdp.answering import offer_audio
from tests.flows.transferring import HOLDS, OK, TRYING, TransferTests, direction

if TYPE_CHECKING:
    from pbx.sdp.description import Description
    from pbx.testing.phone_call import PhoneCall


def in_one_codec(call: PhoneCall, codec: str) -> Description:
    """An offer of ``call`` in one codec only."""
    return offer_audio(call.phone.address, call.audio.address[1], codecs=(codec,))


class HoldTests(TransferTests):
    """Most phones hold the call before they transfer it."""

    def test_blind(self) -> None:
        """However the transferor has held it, the transferee talks to the target afterwards, whichever of the two has called."""
        for hold in HOLDS:
            for by_caller in (True, False):
                with self.subTest(hold=hold.__name__, by_caller=by_caller):
                    self.start()
                    caller, callee = self.connected(self.alice, self.bob)
                    transferor, transferee = (caller, callee) if by_caller else (callee, caller)
                    hold(transferor)
                    self.world.run(0.5)
                    transferor.refer("102")
                    carol = self.answer(self.carol)
                    self.assertEqual(transferor.told[-1], OK)
                    self.both_talk(transferee, carol)
                    self.check_nothing_is_left(self.world)

    def test_attended(self) -> None:
        """The same with a consultation, both calls held in any way."""
        for first, second in ((first, second) for first in HOLDS for second in (*HOLDS, None)):
            with self.subTest(first=first.__name__, second=second and second.__name__):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                first(caller)
                self.world.run(0.5)
                consultation, carol = self.connected(self.alice, self.carol)
                if second is not None:
                    second(consultation)
                    self.world.run(0.5)
                caller.refer_to_call(consultation)
                self.world.run(1.0)
                self.assertEqual(caller.told, [TRYING, OK])
                self.both_talk(callee, carol)
                self.check_nothing_is_left(self.world)

    def test_held_by_the_transferee(self) -> None:
        """Who has held the call itself stays the one that holds: the target hears it and is not heard, until it resumes."""
        for attended in (False, True):
            with self.subTest(attended=attended):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                callee.hold()
                self.world.run(0.5)
                if attended:
                    consultation, carol = self.connected(self.alice, self.carol)
                    caller.refer_to_call(consultation)
                    self.world.run(1.0)
                else:
                    caller.refer("102")
                    carol = self.answer(self.carol)
                self.assertEqual((direction(carol), direction(callee)), ("sendonly", "recvonly"))
                self.assertTrue(self.hear(callee, carol))
                callee.resume()
                self.world.run(0.5)
                self.both_talk(callee, carol)
                self.check_nothing_is_left(self.world)

    def test_held_by_both(self) -> None:
        """Both have held it: the transferor's hold goes with the transferor, the transferee's stays."""
        caller, callee = self.connected(self.alice, self.bob)
        callee.hold()
        self.world.run(0.5)
        callee.accepts_offers = False
        caller.hold()
        self.world.run(0.5)
        answer = callee.current()
        answer.media[0].set_direction("inactive")
        callee.negotiation.answer_sent(answer)
        callee.accept_offer(callee.negotiation.stamp(answer))
        self.world.run(0.5)
        callee.accepts_offers = True
        caller.refer("102")
        carol = self.answer(self.carol)
        self.assertEqual((direction(carol), direction(callee)), ("sendonly", "recvonly"))
        callee.resume()
        self.world.run(0.5)
        self.both_talk(callee, carol)

    def test_refreshed_while_held(self) -> None:
        """A held phone that refreshes its session by a re-INVITE with recvonly is not taken for one that cannot speak."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.hold()
        self.world.run(0.5)
        callee.reoffer(callee.current())
        self.world.run(0.5)
        caller.refer("102")
        self.both_talk(callee, self.answer(self.carol))

    def test_failed_transfer_of_a_held_call(self) -> None:
        """It comes back as it was, held, and the transferor resumes it."""
        for hold in HOLDS:
            with self.subTest(hold=hold.__name__):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                hold(caller)
                self.world.run(0.5)
                self.carol.refuses_with = 486
                caller.refer("102")
                self.world.run(1.0)
                caller.reoffer(caller.own_offer())
                self.world.run(0.5)
                self.both_talk(caller, callee)
                self.check_nothing_is_left(self.world)

    def test_failed_transfer_of_a_held_call_whose_transferor_has_gone(self) -> None:
        """The transferor is rung and talks to the one that it had held."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.hold()
        self.world.run(0.5)
        caller.refer("102")
        self.world.run(0.5)
        caller.hang_up()
        self.carol.incoming[0].refuse(486)
        self.both_talk(callee, self.answer(self.alice))

    def test_no_needless_offers(self) -> None:
        """A transferee that has not been held, and shares a codec, gets no re-INVITE at all."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        carol = self.answer(self.carol)
        self.world.run(5.0)
        self.both_talk(callee, carol)
        self.assertEqual(callee.offers, [])


class CodecTests(TransferTests):
    """The two who are joined have not negotiated with each other before."""

    def different(self) -> tuple[PhoneCall, PhoneCall]:
        """101 talks to 100 in PCMU; it can do PCMA as well, and 102 nothing else."""
        callee, caller = self.connected(self.bob, self.alice)
        self.assertEqual(callee.remote and callee.remote.media[0].formats, ["0", "101"])
        return caller, callee

    def target(self) -> PhoneCall:
        """102 answers in PCMA only."""
        self.world.run(0.5)
        carol = self.carol.incoming[-1]
        assert carol.remote is not None
        answer = in_one_codec(carol, "PCMA")
        carol.negotiation.answer_sent(answer)
        carol.answer(carol.negotiation.stamp(answer))
        self.world.run(0.5)
        return carol

    def test_settled_by_a_reinvite(self) -> None:
        """101 is told of the target's codec by a re-INVITE, and both speak it."""
        caller, callee = self.different()
        caller.refer("102")
        carol = self.target()
        self.assertEqual(len(callee.offers), 1)
        assert callee.remote is not None
        self.assertEqual(callee.remote.media[0].formats, ["8", "101"])
        self.both_talk(callee, carol, 8)

    def test_glare(self) -> None:
        """That re-INVITE meets another of 101 (491): it is made again a few seconds later (RFC 3261 §14.1)."""
        caller, callee = self.different()
        callee.refuses_offers_with = 491
        caller.refer("102")
        carol = self.target()
        self.assertEqual(len(callee.offers), 1)
        callee.refuses_offers_with = 0
        self.world.run(1.5)
        self.assertEqual(len(callee.offers), 1)
        self.world.run(3.0)
        self.assertEqual(len(callee.offers), 2)
        self.both_talk(callee, carol, 8)

    def test_real_glare(self) -> None:
        """Both sides send a re-INVITE at the same moment: both are refused, and both settle in the end."""
        caller, callee = self.different()
        caller.refer("102")
        self.world.run(0.5)
        carol = self.carol.incoming[-1]
        answer = in_one_codec(carol, "PCMA")
        carol.negotiation.answer_sent(answer)
        carol.answer(carol.negotiation.stamp(answer))
        self.world.run(0.015)  # our re-INVITE is on its way to 101
        callee.hold()
        self.world.run(5.0)
        self.assertEqual(callee.refused_offers, [491])
        self.both_talk(callee, carol, 8)

    def test_glare_for_ever(self) -> None:
        """A phone that refuses each with 491 is not asked for ever, and both stay in the call."""
        caller, callee = self.different()
        callee.refuses_offers_with = 491
        caller.refer("102")
        carol = self.target()
        self.world.run(60.0)
        self.assertEqual(len(callee.offers), 4)
        self.assertEqual((callee.state, carol.state), ("talking", "talking"))

    def test_refused(self) -> None:
        """A phone that refuses it keeps what it has; the call stays, and can be changed from either side."""
        caller, callee = self.different()
        callee.refuses_offers_with = 488
        caller.refer("102")
        carol = self.target()
        self.world.run(5.0)
        self.assertEqual((len(callee.offers), callee.state, carol.state), (1, "talking", "talking"))
        callee.refuses_offers_with = 0
        carol.reoffer(carol.own_offer())
        self.world.run(0.5)
        self.both_talk(callee, carol)

    def test_changes_right_after(self) -> None:
        """The target holds while that re-INVITE is under way: refused with 491, and it works when it tries again."""
        caller, callee = self.different()
        callee.accepts_offers = False
        caller.refer("102")
        carol = self.target()
        carol.hold()
        self.world.run(0.2)
        self.assertEqual(carol.refused_offers, [491])
        callee.accepts_offers = True
        callee.accept_offer()
        self.world.run(0.5)
        carol.hold()
        self.world.run(0.5)
        self.assertEqual(direction(callee), "sendonly")

    def test_transferred_on_meanwhile(self) -> None:
        """The target transfers the call on while that re-INVITE is under way: it is waited for."""
        caller, callee = self.different()
        callee.accepts_offers = False
        caller.refer("102")
        carol = self.target()
        carol.refer("100")
        self.world.run(0.2)
        callee.accepts_offers = True
        callee.accept_offer()
        self.world.run(1.0)
        self.both_talk(callee, self.answer(self.alice), 8)

    def test_nothing_in_common(self) -> None:
        """A target that shares no codec refuses with 488, as any call, and the call comes back."""
        self.start()
        caller, callee = self.different()
        self.carol.refuses_with = 488
        caller.refer("102")
        self.world.run(1.0)
        self.assertEqual(caller.told[-1], "SIP/2.0 488 Not Acceptable Here")
        self.both_talk(caller, callee)


class VideoTests(TransferTests):
    """Pictures go with the sound."""

    def seen(self, shower: PhoneCall, viewer: PhoneCall) -> bool:
        """Whether a picture arrives."""
        before = len(viewer.seen)
        shower.show(2)
        self.world.run(0.2)
        return len(viewer.seen) - before == 2

    def with_video(self, takes: tuple[bool, bool, bool]) -> tuple[PhoneCall, PhoneCall]:
        """A call between 100 and 101, to which 101 offers to add video."""
        for phone, takes_video in zip((self.alice, self.bob, self.carol), takes, strict=True):
            phone.takes_video = takes_video
        caller, callee = self.connected(self.alice, self.bob)
        callee.add_video()
        self.world.run(0.5)
        return caller, callee

    def test_all_have_it(self) -> None:
        """A video call is a video call afterwards, blind and attended."""
        for attended in (False, True):
            self.start()
            caller, callee = self.with_video((True, True, True))
            if attended:
                consultation, carol = self.connected(self.alice, self.carol)
                caller.refer_to_call(consultation)
                self.world.run(1.0)
            else:
                caller.refer("102")
                carol = self.answer(self.carol)
            self.both_talk(callee, carol)
            self.assertEqual((self.seen(callee, carol), self.seen(carol, callee)), (True, True))
            self.check_nothing_is_left(self.world)

    def test_target_has_none(self) -> None:
        """The transferee is told that there is no video any more, and the sound goes on."""
        caller, callee = self.with_video((True, True, False))
        caller.refer("102")
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)
        assert callee.remote is not None
        self.assertEqual([bool(media.port) for media in callee.remote.media], [True, False])

    def test_transferor_had_none(self) -> None:
        """A transferee that had offered video in vain is told when the new partner takes it."""
        caller, callee = self.with_video((False, True, True))
        assert callee.remote is not None
        self.assertEqual([bool(media.port) for media in callee.remote.media], [True, False])
        caller.refer("102")
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)
        self.assertEqual([bool(media.port) for media in callee.remote.media], [True, True])
        self.assertEqual((self.seen(callee, carol), self.seen(carol, callee)), (True, True))

    def test_an_audio_call_to_a_video_phone(self) -> None:
        """Attended, the target in a video call with the transferor and the transferee without: they talk, without pictures."""
        caller, callee = self.connected(self.alice, self.bob)
        self.alice.takes_video = self.carol.takes_video = True
        consultation, carol = self.connected(self.alice, self.carol)
        consultation.add_video()
        self.world.run(0.5)
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.both_talk(callee, carol)
        assert carol.remote is not None
        self.assertEqual([bool(media.port) for media in carol.remote.media], [True, False])


class DirectTests(TransferTests):
    """``relay = "never"``: the phones send to each other, so each has to be told where its new partner is."""

    configuration = '[media]\nrelay = "never"\n'

    def direct(self, one: PhoneCall, other: PhoneCall) -> None:
        """Each has the other's address, and hears it."""
        for call, partner in ((one, other), (other, one)):
            assert call.remote is not None
            self.assertEqual(call.remote.address_of(call.remote.media[0]), partner.phone.address)
        self.both_talk(one, other)

    def test_blind(self) -> None:
        """The transferee gets the target's address by a re-INVITE, held before or not."""
        for held in (False, True):
            self.start()
            caller, callee = self.connected(self.alice, self.bob)
            if held:
                caller.hold()
                self.world.run(0.5)
            caller.refer("102")
            self.direct(callee, self.answer(self.carol))
            self.check_nothing_is_left(self.world)

    def test_attended(self) -> None:
        """Both get a re-INVITE."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.connected(self.alice, self.carol)
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.direct(callee, carol)

    def test_failed(self) -> None:
        """Nothing was changed, so nothing has to be changed back."""
        self.carol.refuses_with = 486
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(1.0)
        self.direct(caller, callee)
        self.assertEqual((caller.offers, callee.offers), ([], []))

    def test_attended_failed(self) -> None:
        """A target that has taken a change which nobody wants any more is told of its old partner again."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.connected(self.alice, self.carol)
        carol.accepts_offers = False
        caller.refer_to_call(consultation)
        self.world.run(0.1)
        callee.hang_up()
        self.world.run(0.1)
        carol.accepts_offers = True
        carol.accept_offer()
        self.world.run(1.0)
        self.direct(consultation, carol)

    def test_echo(self) -> None:
        """The exchange speaks itself, so its address is offered."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("600")
        self.world.run(1.0)
        assert callee.remote is not None
        self.assertEqual(callee.remote.address_of(callee.remote.media[0]), "192.0.2.1")
        self.assertTrue(self.hear(callee, callee))

    def test_replaces(self) -> None:
        """Another device of the transferor's takes over: the far end learns its address."""
        caller, callee = self.connected(self.alice, self.bob)
        tablet = self.world.phone("100")
        for sdp in ("", None):
            taken = tablet.dial("101", sdp, f"Replaces: {caller.replaces}\r\n")
            self.world.run(1.0)
            self.direct(taken, callee)
            caller, tablet = taken, self.alice
