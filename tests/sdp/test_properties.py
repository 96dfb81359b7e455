"""Whatever comes is read or refused, and what was read is printed the same for ever."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp import Negotiation, OfferAnswerError, parse_description, remove_bundle, select_audio, strip_ice, with_address
from pbx.sip.errors import ParseError
from tests.sdp.rfc_examples import EXCHANGES

_TEXTS = [turn.text for turns in EXCHANGES.values() for turn in turns]
_WORDS = st.text(st.characters(blacklist_characters="\r\n\0"), max_size=20)
_TOKENS = st.text("abcXYZ019-+*_.", min_size=1, max_size=8)
_ADDRESSES = st.sampled_from(["IP4 192.0.2.1", "IP6 2001:db8::1", "IP4 0.0.0.0", "IP4 host.example", "IP4 233.252.0.1/127"])
_SESSION = st.one_of(
    st.builds("{}={}".format, st.sampled_from("osiuepbtrzka"), _WORDS), st.builds("c=IN {}".format, _ADDRESSES), st.just("a=sendonly")
)
_STREAM = st.one_of(
    st.builds("{}={}".format, st.sampled_from("ibka"), _WORDS),
    st.builds("c=IN {}".format, _ADDRESSES),
    st.builds("a=rtpmap:{} {}".format, _TOKENS, _WORDS),
    st.sampled_from(["a=sendonly", "a=inactive", "a=rtcp:5 IN IP4 192.0.2.1", "a=candidate:x", "a=rtcp-mux"]),
)
_MEDIA = st.builds(
    lambda kind, port, formats, lines: "\r\n".join([f"m={kind} {port} RTP/AVP {' '.join(formats)}", *lines]),
    st.one_of(st.just("audio"), _TOKENS),
    st.integers(0, 65535),
    st.lists(st.one_of(st.sampled_from(["0", "8"]), _TOKENS), min_size=1, max_size=5),
    st.lists(_STREAM, max_size=6),
)
_DESCRIPTIONS = st.builds(
    lambda head, media: "".join(f"{line}\r\n" for line in ["v=0", *head, *media]),
    st.lists(_SESSION, max_size=8),
    st.lists(_MEDIA, max_size=4),
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """An example of the RFCs with a piece cut out and another put in."""
    text = draw(st.sampled_from(_TEXTS))
    begin = draw(st.integers(0, len(text)))
    end = draw(st.integers(begin, len(text)))
    return text[:begin] + draw(st.text(max_size=6)) + text[end:]


class PropertyTests(SynchronousTestCase):
    """Nothing a peer sends raises anything but the error that stands in the docstring."""

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.text(), st.text("v=0omcat \r\n:/IN4P", max_size=60), _damaged()))
    def test_any_text(self, text: str) -> None:
        """Any text is a description or a `ParseError`; what is printed is read again as the same."""
        try:
            d = parse_description(text)
        except ParseError as error:
            self.assertTrue(str(error).isprintable())
            return
        printed = str(d)
        self.assertEqual(str(parse_description(printed)), printed)

    @settings(max_examples=200, deadline=None)
    @given(_DESCRIPTIONS)
    def test_well_formed(self, text: str) -> None:
        """A well-formed description is printed as it came, from LF too, and may be asked anything."""
        d = parse_description(text)
        self.assertEqual(str(d), text)
        self.assertEqual(str(parse_description(text.replace("\r\n", "\n"))), text)
        for media in d.media:
            d.is_held(media), d.address_of(media), media.rtcp_port, media.rtcp_address
            self.assertIn(d.direction_of(media), ("sendrecv", "sendonly", "recvonly", "inactive"))

    @settings(max_examples=200, deadline=None)
    @given(_DESCRIPTIONS)
    def test_rewritten(self, text: str) -> None:
        """What goes out after rewriting and stamping is well-formed, with as many streams, and stable."""
        d = with_address(remove_bundle(strip_ice(parse_description(text))), "198.51.100.1")
        negotiation = Negotiation(7)
        sent = negotiation.stamp(d)
        again = parse_description(sent)
        self.assertEqual(len(again.media), len(d.media))
        self.assertEqual(str(again), sent)
        self.assertEqual(negotiation.stamp(again), sent)

    @settings(max_examples=200, deadline=None)
    @given(_DESCRIPTIONS)
    def test_answered_here(self, text: str) -> None:
        """Any offer is refused with 488, or answered with an answer that fits it (RFC 3264 §6)."""
        offer = parse_description(text)
        negotiation = Negotiation(7)
        negotiation.offer_received(offer)
        try:
            answer = select_audio(offer, "198.51.100.1", 4000)
        except OfferAnswerError as error:
            self.assertEqual(error.status, 488)
            return
        negotiation.answer_sent(answer)
        self.assertEqual(str(parse_description(negotiation.stamp(answer)).media), str(answer.media))
