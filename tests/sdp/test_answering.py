"""Answers and offers that the exchange makes itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp import Negotiation, OfferAnswerError, State, answer_direction, offer_audio, parse_description, refuse, select_audio
from pbx.sdp.answering import agree

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def answered(*lines: str, **how: object) -> list[str]:
    """Give the lines of our answer from ``m=`` on to an offer with these lines."""
    offer = parse_description(HEAD + "".join(f"{line}\r\n" for line in lines))
    answer = select_audio(offer, "198.51.100.1", 4000, **how)  # type: ignore[arg-type]  # the tests pass what it takes
    return str(answer).split("\r\n")[5:-1]


class SelectTests(SynchronousTestCase):
    """A phone calls a tone or an echo."""

    def test_answer(self) -> None:
        """The first of G.711 is answered alone, with telephone events, under the payload types of the offer (RFC 3264 §6.1)."""
        self.assertEqual(
            answered("m=audio 7 RTP/AVP 96 9 8 0 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 telephone-event/8000"),
            [
                "m=audio 4000 RTP/AVP 8 97",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:97 telephone-event/8000",
                "a=fmtp:97 0-15",
                "a=ptime:20",
                "a=sendrecv",
            ],
        )

    def test_session(self) -> None:
        """The session part is complete (RFC 8866 §5), also for IPv6."""
        answer = select_audio(parse_description(HEAD + "m=audio 7 RTP/AVP 0\r\n"), "2001:db8::1", 4000)
        self.assertEqual(answer.lines, ["v=0", "o=pbx 0 0 IN IP6 2001:db8::1", "s=-", "c=IN IP6 2001:db8::1", "t=0 0"])

    def test_dynamic_types(self) -> None:
        """G.711 under a dynamic payload type is G.711, with any case and with its one channel said."""
        self.assertEqual(
            answered("m=audio 7 RTP/AVPF 96", "a=rtpmap:96 pcmu/8000/1")[:2], ["m=audio 4000 RTP/AVPF 96", "a=rtpmap:96 PCMU/8000"]
        )

    def test_remapped_static_type(self) -> None:
        """A payload type is what a=rtpmap says of it; G.711 at 16 kHz is not ours."""
        self.assertEqual(answered("m=audio 7 RTP/AVP 0 8", "a=rtpmap:0 PCMU/16000")[0], "m=audio 4000 RTP/AVP 8")

    def test_no_events(self) -> None:
        """Telephone events at another clock rate than the codec's are not answered (RFC 4733 §2.1)."""
        self.assertEqual(
            answered("m=audio 7 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/48000"),
            ["m=audio 4000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"],
        )

    def test_other_streams_refused(self) -> None:
        """Every other m= line is answered with port 0, in its place (RFC 3264 §6)."""
        lines = answered(
            "m=video 9 RTP/AVP 31", "m=audio 0 RTP/AVP 0", "m=audio 5 RTP/SAVP 0", "m=audio 7 RTP/AVP 0", "m=audio 8 RTP/AVP 0"
        )
        self.assertEqual(
            [line for line in lines if line.startswith("m=")],
            ["m=video 0 RTP/AVP 31", "m=audio 0 RTP/AVP 0", "m=audio 0 RTP/SAVP 0", "m=audio 4000 RTP/AVP 0", "m=audio 0 RTP/AVP 0"],
        )

    def test_nothing_to_speak(self) -> None:
        """No G.711, no plain RTP, no audio, no stream: 488."""
        for lines in ((), ("m=audio 7 RTP/AVP 9",), ("m=audio 7 RTP/SAVP 0",), ("m=video 7 RTP/AVP 0",), ("m=audio 0 RTP/AVP 0",)):
            self.assertEqual(self.assertRaises(OfferAnswerError, answered, *lines).status, 488)

    def test_codecs(self) -> None:
        """What may be spoken can be narrowed."""
        self.assertEqual(answered("m=audio 7 RTP/AVP 0 8", codecs=("PCMA",))[0], "m=audio 4000 RTP/AVP 8")

    def test_rtcp(self) -> None:
        """A port for RTCP that is not the next one is said (RFC 3605); muxing is accepted only where offered (RFC 5761 §5.1.1)."""
        self.assertIn("a=rtcp:4711", answered("m=audio 7 RTP/AVP 0", rtcp_port=4711))
        self.assertNotIn("a=rtcp:4001", answered("m=audio 7 RTP/AVP 0", rtcp_port=4001))
        self.assertIn("a=rtcp-mux", answered("m=audio 7 RTP/AVP 0", "a=rtcp-mux", mux=True))
        self.assertNotIn("a=rtcp-mux", answered("m=audio 7 RTP/AVP 0", mux=True))
        self.assertNotIn("a=rtcp-mux", answered("m=audio 7 RTP/AVP 0", "a=rtcp-mux"))

    def test_direction(self) -> None:
        """Who holds us is answered recvonly, wherever the offer says it (RFC 3264 §6.1)."""
        self.assertEqual(answered("m=audio 7 RTP/AVP 0", "a=sendonly")[-1], "a=recvonly")
        self.assertEqual(answered("a=inactive", "m=audio 7 RTP/AVP 0")[-1], "a=inactive")
        self.assertEqual(answered("m=audio 7 RTP/AVP 0", direction="sendonly")[-1], "a=sendonly")

    def test_refuse(self) -> None:
        """A refused stream keeps its kind, protocol and formats (RFC 3264 §6)."""
        media = parse_description(HEAD + "m=video 49170/2 RTP/AVP 31 32\r\na=rtpmap:31 H261/90000\r\n").media[0]
        self.assertEqual(str(refuse(media)), "m=video 0 RTP/AVP 31 32\r\n")


class AgreeTests(SynchronousTestCase):
    """An answer in the name of a peer that cannot be asked."""

    def test_codec_in_common(self) -> None:
        """What both have said, in the order of the offer."""
        known, offer = (offer_audio(f"192.0.2.{host}", 4000, codecs=codecs) for host, codecs in ((1, ("PCMU", "PCMA")), (2, ("PCMA",))))
        self.assertEqual(agree(known, offer, None).media[0].formats, ["8", "101"])

    def test_digits_are_no_codec(self) -> None:
        """Nothing but digits in common: the stream is refused, for nobody could speak in it."""
        known, offer = (offer_audio(f"192.0.2.{host}", 4000, codecs=codecs) for host, codecs in ((1, ("PCMU",)), (2, ("PCMA",))))
        self.assertEqual(agree(known, offer, None).media[0].port, 0)


class DirectionTests(SynchronousTestCase):
    """The table of RFC 3264 §6.1."""

    def test_all(self) -> None:
        """Each offered direction leaves what it leaves of each wish."""
        names = ("sendrecv", "sendonly", "recvonly", "inactive")
        table = {offered: [answer_direction(offered, wanted) for wanted in names] for offered in names}
        self.assertEqual(
            table,
            {
                "sendrecv": ["sendrecv", "sendonly", "recvonly", "inactive"],
                "sendonly": ["recvonly", "inactive", "recvonly", "inactive"],
                "recvonly": ["sendonly", "sendonly", "inactive", "inactive"],
                "inactive": ["inactive", "inactive", "inactive", "inactive"],
            },
        )


class OfferTests(SynchronousTestCase):
    """The exchange calls somebody."""

    def test_offer(self) -> None:
        """G.711 both ways and telephone events."""
        negotiation = Negotiation(1)
        offer = offer_audio("198.51.100.1", 4000)
        self.assertEqual(
            negotiation.stamp(offer),
            "v=0\r\no=pbx 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
        )

    def test_choices(self) -> None:
        """Codecs in their order, direction and ports are as asked for."""
        lines = str(offer_audio("2001:db8::1", 4000, rtcp_port=5000, mux=True, direction="inactive", codecs=("PCMA",))).split("\r\n")
        self.assertEqual(lines[5], "m=audio 4000 RTP/AVP 8 101")
        self.assertEqual(lines[-5:-1], ["a=ptime:20", "a=rtcp-mux", "a=rtcp:5000", "a=inactive"])

    def test_answered_by_ourselves(self) -> None:
        """Our own answer fits our own offer."""
        negotiation = Negotiation(1)
        offer = offer_audio("198.51.100.1", 4000)
        negotiation.offer_sent(offer)
        negotiation.answer_received(select_audio(offer, "198.51.100.2", 5000))
        self.assertIs(negotiation.state, State.AGREED_ON_OURS)
