"""Offer and answer: RFC 3264, RFC 6337."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp import Description, Negotiation, OfferAnswerError, State, parse_description
from pbx.sdp.offer_answer import _TABLE, Input


def audio(port: int = 4000, *more: str, address: str = "192.0.2.1", time: str = "0 0") -> Description:
    """A description with one stream of audio, and ``more`` lines."""
    lines = "".join(f"{line}\r\n" for line in more)
    return parse_description(
        f"v=0\r\no=alice 1 1 IN IP4 {address}\r\ns=Lunch\r\nc=IN IP4 {address}\r\nt={time}\r\nm=audio {port} RTP/AVP 0\r\n{lines}"
    )


VIDEO = "m=video 5000 RTP/AVP 31"

# How to get into each state from a new negotiation.
_WAYS: dict[State, tuple[Callable[[Negotiation], None], ...]] = {
    State.IDLE: (),
    State.OFFER_SENT: (lambda n: n.offer_sent(audio()),),
    State.OFFER_RECEIVED: (lambda n: n.offer_received(audio()),),
    State.PREVIEW_SENT: (lambda n: n.offer_received(audio()), lambda n: n.answer_sent(audio(), reliable=False)),
    State.PREVIEW_RECEIVED: (lambda n: n.offer_sent(audio()), lambda n: n.answer_received(audio(), reliable=False)),
    State.AGREED_ON_OURS: (lambda n: n.offer_sent(audio()), lambda n: n.answer_received(audio())),
    State.AGREED_ON_THEIRS: (lambda n: n.offer_received(audio()), lambda n: n.answer_sent(audio())),
}
_EVENTS: dict[Input, Callable[[Negotiation], None]] = {
    Input.SEND_OFFER: lambda n: n.offer_sent(audio()),
    Input.RECEIVE_OFFER: lambda n: n.offer_received(audio()),
    Input.SEND_PREVIEW: lambda n: n.answer_sent(audio(), reliable=False),
    Input.RECEIVE_PREVIEW: lambda n: n.answer_received(audio(), reliable=False),
    Input.SEND_ANSWER: lambda n: n.answer_sent(audio()),
    Input.RECEIVE_ANSWER: lambda n: n.answer_received(audio()),
    Input.REFUSE: lambda n: n.offer_refused(),
}
# What becomes of each input in each state: the new state, "=" for none, or the status. In the order of `Input`.
_OUTCOMES: dict[State, tuple[State | int | str, ...]] = {
    State.IDLE: (State.OFFER_SENT, State.OFFER_RECEIVED, 500, 400, 500, 400, "="),
    State.OFFER_SENT: (491, 491, 500, State.PREVIEW_RECEIVED, 500, State.AGREED_ON_OURS, State.IDLE),
    State.OFFER_RECEIVED: (491, 500, State.PREVIEW_SENT, 400, State.AGREED_ON_THEIRS, 400, State.IDLE),
    State.PREVIEW_SENT: (491, 500, "=", 400, State.AGREED_ON_THEIRS, 400, State.IDLE),
    State.PREVIEW_RECEIVED: (491, 491, 500, "=", 500, State.AGREED_ON_OURS, State.IDLE),
    State.AGREED_ON_OURS: (State.OFFER_SENT, State.OFFER_RECEIVED, 500, "=", 500, "=", "="),
    State.AGREED_ON_THEIRS: (State.OFFER_SENT, State.OFFER_RECEIVED, "=", 400, "=", 400, "="),
}


def reach(state: State) -> Negotiation:
    """Give a negotiation in ``state``."""
    negotiation = Negotiation(1)
    for step in _WAYS[state]:
        step(negotiation)
    assert negotiation.state is state
    return negotiation


class TableTests(SynchronousTestCase):
    """Every event in every state."""

    def test_complete(self) -> None:
        """The table has a row for each pair and no other."""
        self.assertEqual(set(_TABLE), {(state, what) for state in State for what in Input})

    def test_every_pair(self) -> None:
        """Each event has the outcome that RFC 3264 §4 and RFC 6337 §2 give it; what is forbidden changes nothing."""
        for state, outcomes in _OUTCOMES.items():
            for what, outcome in zip(Input, outcomes, strict=True):
                pair = f"{what} in {state}"
                negotiation = reach(state)
                before = (negotiation.local, negotiation.remote, negotiation.offer)
                if isinstance(outcome, int):
                    error = self.assertRaises(OfferAnswerError, _EVENTS[what], negotiation)
                    self.assertEqual((error.status, error.why), (outcome, str(error)), pair)
                    self.assertIn(state.value, error.why)
                    self.assertEqual((negotiation.local, negotiation.remote, negotiation.offer), before, pair)
                else:
                    _EVENTS[what](negotiation)
                wanted = outcome if isinstance(outcome, State) else state
                self.assertIs(negotiation.state, wanted, pair)
                agreed = wanted in (State.IDLE, State.AGREED_ON_OURS, State.AGREED_ON_THEIRS)
                self.assertEqual(negotiation.may_offer, agreed, pair)


class SettledTests(SynchronousTestCase):
    """What both sides have agreed on."""

    def test_our_offer(self) -> None:
        """Nothing is settled before the answer; then our offer is the local side."""
        negotiation = Negotiation(1)
        ours, theirs = audio(1000), audio(2000)
        negotiation.offer_sent(ours)
        self.assertEqual((negotiation.local, negotiation.remote, negotiation.offer), (None, None, ours))
        negotiation.answer_received(theirs)
        self.assertEqual((negotiation.local, negotiation.remote, negotiation.offer), (ours, theirs, None))

    def test_their_offer(self) -> None:
        """Their offer is the remote side."""
        negotiation = Negotiation(1)
        ours, theirs = audio(1000), audio(2000)
        negotiation.offer_received(theirs)
        negotiation.answer_sent(ours)
        self.assertEqual((negotiation.local, negotiation.remote), (ours, theirs))

    def test_refused(self) -> None:
        """A refused re-offer, of either side, leaves what was agreed on before (RFC 3264 §8, RFC 3261 §14.1)."""
        for offer in (Negotiation.offer_sent, Negotiation.offer_received):
            for take_back in (Negotiation.offer_refused, Negotiation.rolled_back):
                for state in (State.AGREED_ON_OURS, State.AGREED_ON_THEIRS):
                    negotiation = reach(state)
                    before = (negotiation.local, negotiation.remote)
                    offer(negotiation, audio(6000))
                    take_back(negotiation)
                    self.assertEqual((negotiation.local, negotiation.remote), before)
                    self.assertEqual((negotiation.state, negotiation.offer), (state, None))

    def test_refused_after_a_preview(self) -> None:
        """A re-INVITE that fails after SDP in an unreliable 183 leaves what was agreed on before it."""
        negotiation = reach(State.AGREED_ON_THEIRS)
        before = (negotiation.local, negotiation.remote)
        negotiation.offer_sent(audio(6000))
        negotiation.answer_received(audio(7000), reliable=False)
        self.assertNotEqual((negotiation.local, negotiation.remote), before)
        negotiation.offer_refused()
        self.assertEqual((negotiation.local, negotiation.remote, negotiation.state), (*before, State.AGREED_ON_THEIRS))

    def test_refused_after_agreement(self) -> None:
        """What PRACK settled while a re-INVITE ran is not undone when that fails (RFC 6141 §3.3)."""
        negotiation = reach(State.AGREED_ON_OURS)
        new = audio(6000)
        negotiation.offer_sent(new)
        negotiation.answer_received(audio(7000))
        negotiation.offer_refused()
        self.assertIs(negotiation.local, new)

    def test_repeated_answer(self) -> None:
        """The answer of a reliable 183 comes again in the 200: the copy is ignored (RFC 3261 §13.2.1)."""
        negotiation = reach(State.AGREED_ON_OURS)
        first = negotiation.remote
        negotiation.answer_received(audio(9))
        self.assertIs(negotiation.remote, first)

    def test_preview_replaced(self) -> None:
        """A gateway announces from one place and answers from another: the 200 counts, not the unreliable 183."""
        negotiation = reach(State.OFFER_SENT)
        announcement, answer = audio(6000), audio(7000)
        negotiation.answer_received(announcement, reliable=False)
        self.assertIs(negotiation.remote, announcement)
        negotiation.answer_received(answer)
        self.assertIs(negotiation.remote, answer)

    def test_answer_without_sdp(self) -> None:
        """A 200 without SDP after a 183 with it: the preview is the answer (RFC 3261 §13.2.1)."""
        negotiation = reach(State.PREVIEW_RECEIVED)
        assert negotiation.remote is not None
        negotiation.answer_received(negotiation.remote)
        self.assertIs(negotiation.state, State.AGREED_ON_OURS)

    def test_fork(self) -> None:
        """Two phones answer one INVITE: each early dialog has its own answer (RFC 3261 §12.1, RFC 6337 §3.1.4)."""
        negotiation = Negotiation(5, "192.0.2.9")
        offer = audio()
        text = negotiation.stamp(offer)
        negotiation.offer_sent(offer)
        twin = negotiation.fork()
        twin.answer_received(audio(7000), reliable=False)
        self.assertIs(negotiation.state, State.OFFER_SENT)
        self.assertIs(twin.state, State.PREVIEW_RECEIVED)
        self.assertEqual(twin.repeat(), text)
        negotiation.answer_received(audio(8000))
        assert negotiation.remote is not None
        assert twin.remote is not None
        self.assertEqual((negotiation.remote.media[0].port, twin.remote.media[0].port), (8000, 7000))


class FittingTests(SynchronousTestCase):
    """The m= lines of an answer are those of the offer (RFC 3264 §6); those of a re-offer never grow fewer (§8)."""

    def refused(self, answer: Description, *offered: str) -> str:
        """Give the sentence with which the answer is refused, as theirs and as ours."""
        negotiation = Negotiation(1)
        negotiation.offer_sent(audio(4000, *offered))
        theirs = self.assertRaises(OfferAnswerError, negotiation.answer_received, answer)
        early = self.assertRaises(OfferAnswerError, negotiation.answer_received, answer, reliable=False)
        self.assertIs(negotiation.state, State.OFFER_SENT)
        negotiation = Negotiation(1)
        negotiation.offer_received(audio(4000, *offered))
        ours = self.assertRaises(OfferAnswerError, negotiation.answer_sent, answer)
        shown = self.assertRaises(OfferAnswerError, negotiation.answer_sent, answer, reliable=False)
        self.assertEqual([e.status for e in (theirs, early, ours, shown)], [488, 488, 500, 500])
        return str(theirs)

    def test_number(self) -> None:
        """An answer with more or fewer streams than the offer is no answer to it."""
        self.assertEqual(self.refused(audio(), VIDEO), "answer: expected 2 m= lines, as in the offer, found 1")
        self.assertEqual(self.refused(audio(4000, VIDEO)), "answer: expected 1 m= lines, as in the offer, found 2")

    def test_order(self) -> None:
        """Streams are told apart by their place alone, so their kinds stand in the same order."""
        answer = parse_description("v=0\r\nm=video 1 RTP/AVP 31\r\nm=audio 2 RTP/AVP 0\r\n")
        self.assertEqual(self.refused(answer, VIDEO), "answer, m= line 1: expected audio, found video")

    def test_protocol(self) -> None:
        """Plain RTP is not answered with SRTP (RFC 3264 §6); AVP and AVPF are taken for one another."""
        answer = parse_description("v=0\r\nm=audio 1 RTP/SAVP 0\r\n")
        self.assertEqual(self.refused(answer), "answer, m= line 1: expected RTP/AVP, found RTP/SAVP")
        reach(State.OFFER_SENT).answer_received(parse_description("v=0\r\nm=audio 1 rtp/avpf 0\r\n"))
        reach(State.OFFER_SENT).answer_received(parse_description("v=0\r\nm=audio 0 RTP/SAVP 0\r\n"))

    def test_switched_off(self) -> None:
        """A stream offered with port 0 is off, whatever the answer says (RFC 3264 §6)."""
        negotiation = Negotiation(1)
        negotiation.offer_sent(audio(4000, "m=video 0 RTP/AVP 31"))
        negotiation.answer_received(audio(4000, VIDEO))
        assert negotiation.remote is not None
        self.assertEqual([media.port for media in negotiation.remote.media], [4000, 0])

    def test_fewer_streams_offered(self) -> None:
        """A stream is switched off by port 0, not by leaving it out; more may be added (RFC 3264 §8.1, §8.2)."""
        negotiation = Negotiation(1)
        negotiation.offer_sent(audio(4000, VIDEO))
        negotiation.answer_received(audio(4000, VIDEO))
        ours = self.assertRaises(OfferAnswerError, negotiation.offer_sent, audio())
        theirs = self.assertRaises(OfferAnswerError, negotiation.offer_received, audio())
        self.assertEqual((ours.status, theirs.status), (500, 488))
        self.assertIs(negotiation.state, State.AGREED_ON_OURS)
        negotiation.offer_received(audio(4000, VIDEO, "m=text 6000 RTP/AVP 98"))

    def test_changed_kind(self) -> None:
        """A stream may change its kind in a re-offer, as from voice to fax (RFC 3264 §8.3.3)."""
        fax = parse_description("v=0\r\nc=IN IP4 192.0.2.1\r\nm=image 4000 udptl t38\r\n")
        negotiation = reach(State.AGREED_ON_OURS)
        negotiation.offer_received(fax)
        negotiation.answer_sent(fax)
        self.assertIs(negotiation.local, fax)

    def test_fit(self) -> None:
        """After a transfer a newcomer offers audio to one who had video: the video is offered switched off, and not answered back."""
        had_video = Negotiation(1)
        had_video.offer_sent(audio(4000, VIDEO))
        had_video.answer_received(audio(4000, VIDEO))
        newcomer = Negotiation(2)
        offer = audio(7000)
        newcomer.offer_received(offer)
        fitted = had_video.fit_offer(offer)
        self.assertEqual([media.line for media in fitted.media], ["m=audio 7000 RTP/AVP 0", "m=video 0 RTP/AVP 31"])
        had_video.offer_sent(fitted)
        answer = audio(4000, "m=video 0 RTP/AVP 31")
        had_video.answer_received(answer)
        newcomer.answer_sent(newcomer.fit_answer(answer))
        self.assertEqual(len(offer.media), 1)

    def test_fits_already(self) -> None:
        """What has as many streams as are wanted is left alone."""
        negotiation = Negotiation(1)
        offer = audio()
        self.assertIs(negotiation.fit_offer(offer), offer)
        self.assertIs(negotiation.fit_answer(offer), offer)
        negotiation.offer_received(offer)
        self.assertIs(negotiation.fit_answer(offer), offer)


class StampTests(SynchronousTestCase):
    """What a peer sees of us: one session, one origin."""

    def test_text(self) -> None:
        """o=, s= and t= are ours; nothing about a person goes out, and no key (RFC 8866 §5.12)."""
        d = parse_description(
            "v=0\r\no=alice 1 1 IN IP4 10.0.0.1\r\ns=Lunch\r\ni=private\r\nu=http://a.example/\r\ne=a@example\r\np=+1 555\r\n"
            "c=IN IP4 192.0.2.1\r\nb=CT:128\r\nt=0 0\r\n"
            "r=1 2 3\r\nz=1 2\r\nk=clear:x\r\na=group:LS 1\r\nm=audio 4 RTP/AVP 0\r\ni=stream\r\na=ptime:20\r\n"
        )
        self.assertEqual(
            Negotiation(77).stamp(d),
            "v=0\r\no=pbx 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nb=CT:128\r\nt=0 0\r\na=group:LS 1\r\n"
            "m=audio 4 RTP/AVP 0\r\ni=stream\r\na=ptime:20\r\n",
        )

    def test_order(self) -> None:
        """Lines that came in a wrong order go out in that of RFC 8866 §5."""
        d = parse_description("v=0\r\na=x\r\nt=0 0\r\nb=AS:1\r\nc=IN IP4 192.0.2.1\r\ns=-\r\n")
        self.assertEqual([line[0] for line in Negotiation(1).stamp(d).split("\r\n")[:-1]], list("voscbta"))

    def test_version(self) -> None:
        """The version grows by one when anything else changes, and only then (RFC 3264 §8)."""
        negotiation = Negotiation(1)
        said = (audio(4000), audio(4000), audio(4002), audio(4002), audio(4000), audio(4000, "a=sendonly"))
        versions = [parse_description(negotiation.stamp(d)).origin.split()[2] for d in said]
        self.assertEqual(versions, ["1", "1", "2", "2", "3", "4"])

    def test_peer_changes_origin_only(self) -> None:
        """What the other leg does to its own o= and s= is not seen here."""
        negotiation = Negotiation(1)
        first = negotiation.stamp(audio())
        other = parse_description(str(audio()).replace("alice 1 1", "carol 9 9").replace("Lunch", "Dinner"))
        self.assertEqual(negotiation.stamp(other), first)

    def test_address(self) -> None:
        """The address in o= stays when the media move (RFC 3264 §8: identical but for the version)."""
        negotiation = Negotiation(1)
        negotiation.stamp(audio(address="192.0.2.1"))
        self.assertIn("o=pbx 1 2 IN IP4 192.0.2.1\r\n", negotiation.stamp(audio(address="192.0.2.2")))

    def test_given_address(self) -> None:
        """The address in o= may be given, IPv6 too."""
        self.assertIn("o=pbx 1 1 IN IP6 2001:db8::1\r\n", Negotiation(1, "2001:db8::1").stamp(audio()))

    def test_no_address(self) -> None:
        """Without streams the session's address stands in o=; without any, one that means nothing."""
        self.assertIn("IN IP4 192.0.2.5\r\n", Negotiation(1).stamp(parse_description("v=0\r\nc=IN IP4 192.0.2.5\r\n")))
        self.assertIn("IN IP4 0.0.0.0\r\n", Negotiation(1).stamp(parse_description("v=0\r\nm=audio 0 RTP/AVP 0\r\n")))

    def test_time(self) -> None:
        """The t= of an answer is that of the offer (RFC 3264 §6); what is no time is answered with ours."""
        for said, answered in (("3034423619 3042462419", "3034423619 3042462419"), ("0 0", "0 0"), ("x", "0 0"), ("", "0 0")):
            negotiation = Negotiation(1)
            negotiation.offer_received(audio(time=said))
            self.assertIn(f"\r\nt={answered}\r\n", negotiation.stamp(audio()))

    def test_repeat(self) -> None:
        """A session refresh says the same again, under the same version (RFC 4028 §7.4)."""
        negotiation = Negotiation(1)
        offer = audio()
        text = negotiation.stamp(offer)
        negotiation.offer_sent(offer)
        negotiation.answer_received(audio())
        self.assertEqual(negotiation.repeat(), text)

    def test_repeat_after_refusal(self) -> None:
        """What is repeated is what was agreed on, not the offer that was refused; its version is a new one."""
        negotiation = Negotiation(1)
        offer = audio()
        text = negotiation.stamp(offer)
        negotiation.offer_sent(offer)
        negotiation.answer_received(audio())
        negotiation.stamp(audio(6000))
        negotiation.offer_sent(audio(6000))
        negotiation.offer_refused()
        self.assertEqual(negotiation.repeat(), text.replace("pbx 1 1 ", "pbx 1 3 "))

    def test_nothing_to_repeat(self) -> None:
        """Before the first answer there is nothing to repeat."""
        self.assertEqual(self.assertRaises(OfferAnswerError, Negotiation(1).repeat).status, 500)

    def test_session_id(self) -> None:
        """The id fits 62 bits (RFC 3264 §5)."""
        Negotiation(2**62 - 1)
        self.assertRaises(ValueError, Negotiation, 2**62)
        self.assertRaises(ValueError, Negotiation, -1)
