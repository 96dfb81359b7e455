"""Reading and printing session descriptions: RFC 8866."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp import Description, Media, parse_description, remove_bundle, strip_ice, with_address
from pbx.sip.errors import ParseError

HEAD = "v=0\r\no=alice 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = "m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"


class ReadingTests(SynchronousTestCase):
    """What is accepted, and what is made of it."""

    def test_parts(self) -> None:
        """The session's lines, then each stream with its own (RFC 8866 §5)."""
        d = parse_description(HEAD + "a=tool:x\r\n" + AUDIO + "m=video 0 RTP/AVP 31\r\n")
        self.assertEqual(d.lines, ["v=0", "o=alice 1 2 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "a=tool:x"])
        audio, video = d.media
        self.assertEqual((audio.kind, audio.port, audio.proto, audio.formats), ("audio", 49170, "RTP/AVP", ["0", "8", "101"]))
        self.assertEqual(audio.lines, ["a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=ptime:20"])
        self.assertEqual((video.port, video.lines), (0, []))
        self.assertEqual((d.origin, d.address, d.attribute("tool")), ("alice 1 2 IN IP4 192.0.2.1", "192.0.2.1", "x"))

    def test_printed_as_it_came(self) -> None:
        """What is not understood passes through unchanged, line for line."""
        text = HEAD + "a=x-unknown:1 2 3\r\n" + AUDIO + "b=AS:80\r\na=imageattr:97 send [x=640,y=480]\r\n"
        self.assertEqual(str(parse_description(text)), text)

    def test_line_feeds(self) -> None:
        """LF alone ends a line too (RFC 8866 §5), a missing one at the end is no matter, and CRLF goes out."""
        text = HEAD + AUDIO
        for variant in (text.replace("\r\n", "\n"), text.rstrip("\r\n"), text + "\r\n", "\r\n" + text, text.replace("\r\nm=", "\nm=")):
            self.assertEqual(str(parse_description(variant)), text)

    def test_blank_lines(self) -> None:
        """Blank lines that devices leave in the middle and at the end are dropped."""
        text = HEAD + AUDIO
        for variant in (text.replace("\r\n", "\r\n\r\n"), text.replace("a=ptime", "  \r\na=ptime"), text + " \t\r\n"):
            self.assertEqual(str(parse_description(variant)), text)

    def test_missing_lines(self) -> None:
        """Phones that leave out o=, s= and t= are understood."""
        d = parse_description("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n")
        self.assertEqual((d.origin, d.address_of(d.media[0])), ("", "192.0.2.1"))

    def test_no_streams(self) -> None:
        """A description may have no stream at all (RFC 3264 §5)."""
        self.assertEqual(parse_description(HEAD).media, [])

    def test_blanks_in_a_media_line(self) -> None:
        """Two blanks, or one at the end, are read as one and none."""
        media = parse_description(HEAD + "m=audio  4000  RTP/AVP 0  8 \r\n").media[0]
        self.assertEqual(media.line, "m=audio 4000 RTP/AVP 0 8")

    def test_ports(self) -> None:
        """A number of port pairs is kept (RFC 8866 §5.14)."""
        media = parse_description(HEAD + "m=video 49170/2 RTP/AVP 31\r\n").media[0]
        self.assertEqual((media.port, media.count, media.line), (49170, 2, "m=video 49170/2 RTP/AVP 31"))

    def test_other_protocols(self) -> None:
        """Fax, data channels, MSRP and secure profiles are read as well as RTP."""
        for line in (
            "m=image 4002 udptl t38",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=message 7394 TCP/TLS/MSRP *",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        ):
            self.assertEqual(parse_description(f"{HEAD}{line}\r\n").media[0].line, line)

    def test_undecodable_octets(self) -> None:
        """Octets that are no UTF-8 pass through as they came (RFC 8866 §5: s= and i= may be in another charset)."""
        text = (HEAD + "i=" + b"\xff\xfe".decode("utf-8", "surrogateescape") + "\r\n").replace("s=-", "s=Ü")
        self.assertEqual(str(parse_description(text)), text)

    def test_unicode_is_no_line_end(self) -> None:
        """Characters that only Python takes for line ends are part of a line."""
        text = HEAD + "a=x:1\x0b\x0c\x85\u2028m=audio\r\n"
        self.assertEqual(parse_description(text).attribute("x"), "1\x0b\x0c\x85\u2028m=audio")


class RefusedTests(SynchronousTestCase):
    """What is not accepted, and the sentence that says why."""

    def refused(self, text: str) -> str:
        """Give the sentence for ``text``."""
        return str(self.assertRaises(ParseError, parse_description, text))

    def test_version(self) -> None:
        """Anything that does not begin with v=0 is no description (RFC 8866 §5.1)."""
        for text in ("", "\r\n", "hello", "v=1\r\n", "o=x\r\nv=0\r\n", "m=audio 1 RTP/AVP 0\r\n", "v=00\r\n"):
            self.assertIn("expected v=0 first", self.refused(text))

    def test_media_line(self) -> None:
        """An m= line that cannot be read is never guessed at (RFC 8866 §5.14)."""
        for line in (
            "m=",
            "m=audio",
            "m=audio 4000",
            "m=audio 4000 RTP/AVP",
            "m=audio 4000 RTP/AVP ",
            "m=audio x RTP/AVP 0",
            "m=audio -1 RTP/AVP 0",
            "m=audio 4_0 RTP/AVP 0",
            "m=audio \u0664\u0660 RTP/AVP 0",
            "m=audio 123456 RTP/AVP 0",
            "m=audio 4000/ RTP/AVP 0",
            "m=audio 4000 RTP/AVP 0\x1b[2J",
            "m=au dio 4000 RTP/AVP 0",
        ):
            self.assertIn("expected <media> <port> <proto> <formats>", self.refused(f"{HEAD}{line}\r\n"))

    def test_port(self) -> None:
        """No port is above 65535, and the error points at it."""
        self.assertIn("expected a port up to 65535 at column 8", self.refused(HEAD + "m=audio 65536 RTP/AVP 0\r\n"))

    def test_connection(self) -> None:
        """A c= line that cannot be read is never guessed at, in the session or in a stream (RFC 8866 §5.7)."""
        for line in (
            "c=",
            "c=192.0.2.1",
            "c=IN IP4",
            "c=IN IP4 ",
            "c=IN IP5 192.0.2.1",
            "c=ATM NSAP 47.0091",
            "c=IN IP4 2001:db8::1",
            "c=IN IP6 [2001:db8::1]",
            "c=IN IP4 192.0.2.1 192.0.2.2",
            "c=IN IP4 192.0.2.1;rm",
        ):
            self.assertIn("expected IN IP4 or IN IP6", self.refused(f"v=0\r\n{line}\r\n"))
            self.assertIn("expected IN IP4 or IN IP6", self.refused(f"{HEAD}{AUDIO}{line}\r\n"))

    def test_connection_accepted(self) -> None:
        """Names, IPv6 and multicast addresses with their TTL are addresses."""
        for line, address in (
            ("c=IN IP4 host.example", "host.example"),
            ("c=IN IP6 2001:db8::1", "2001:db8::1"),
            ("c=IN IP6 ::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("c=IN IP4 233.252.0.1/127", "233.252.0.1"),
            ("c=IN IP4 233.252.0.1/127/3", "233.252.0.1"),
            ("c=IN IP6 ff00::db8:0:101/3", "ff00::db8:0:101"),
            ("c=in ip4 192.0.2.1 ", "192.0.2.1"),
        ):
            self.assertEqual(parse_description(f"v=0\r\n{line}\r\n").address, address)

    def test_unknown_letters(self) -> None:
        """A type letter that RFC 8866 does not know makes the whole unreadable (§5), as does text that is no line."""
        for line in ("y=1", "A=x", "a =x", " a=x", "nonsense", "="):
            self.assertIn("expected a session-level line", self.refused(f"{HEAD}{line}\r\n"))
            self.assertIn("expected a media-level line", self.refused(f"{HEAD}{AUDIO}{line}\r\n"))

    def test_session_lines_in_a_stream(self) -> None:
        """v=, o=, s=, t= after an m= are another description, run into this one."""
        self.assertIn("in 'v=0'", self.refused(HEAD + AUDIO + HEAD))

    def test_control_characters(self) -> None:
        """NUL, and CR without LF, are nowhere allowed (RFC 8866 §9, byte-string)."""
        for character in ("\0", "\r"):
            self.assertIn("expected neither NUL nor a CR", self.refused(f"{HEAD}a=x:{character}y\r\n"))


class MediaTests(SynchronousTestCase):
    """What a stream says of itself."""

    def media(self, *lines: str, port: int = 4000, session: str = "") -> tuple[Description, Media]:
        """One stream with these lines."""
        text = "".join(f"{line}\r\n" for line in lines)
        d = parse_description(f"v=0\r\n{session}m=audio {port} RTP/AVP 0\r\n{text}")
        return d, d.media[0]

    def test_attributes(self) -> None:
        """An attribute with a value, one without, several of a name; one name is not the beginning of another."""
        _, media = self.media("a=rtcp-mux", "a=rtcp-fb:* nack", "a=rtcp-fb:* ccm fir", "a=fmtp:0 x:y")
        self.assertEqual(media.attribute("rtcp-mux"), "")
        self.assertEqual(media.attribute("rtcp-fb"), "* nack")
        self.assertEqual(media.attributes("rtcp-fb"), ["* nack", "* ccm fir"])
        self.assertEqual(media.attribute("fmtp"), "0 x:y")
        self.assertIsNone(media.attribute("rtcp"))
        self.assertEqual(media.attributes("rtcp"), [])

    def test_remove(self) -> None:
        """Attributes are taken out by their whole name."""
        _, media = self.media("a=rtcp:5", "a=rtcp-mux", "a=ptime:20", "a=rtcp-muxx")
        media.remove("rtcp", "rtcp-mux")
        self.assertEqual(media.lines, ["a=ptime:20", "a=rtcp-muxx"])

    def test_direction(self) -> None:
        """The stream's own direction counts, else the session's, else sendrecv (RFC 8866 §6.7)."""
        d, media = self.media("a=recvonly", session="a=inactive\r\n")
        self.assertEqual((media.direction, d.direction_of(media)), ("recvonly", "recvonly"))
        d, media = self.media(session="a=inactive\r\n")
        self.assertEqual((media.direction, d.direction_of(media)), (None, "inactive"))
        d, media = self.media()
        self.assertEqual((media.direction, d.direction_of(media)), (None, "sendrecv"))

    def test_set_direction(self) -> None:
        """A direction replaces the one before."""
        _, media = self.media("a=sendrecv", "a=ptime:20")
        media.set_direction("inactive")
        self.assertEqual(media.lines, ["a=ptime:20", "a=inactive"])

    def test_address(self) -> None:
        """A stream's own c= comes before the session's; there may be none at all (RFC 8866 §5.7)."""
        d, media = self.media("c=IN IP6 2001:db8::2", session="c=IN IP4 192.0.2.1\r\n")
        self.assertEqual((media.address, d.address_of(media)), ("2001:db8::2", "2001:db8::2"))
        d, media = self.media(session="c=IN IP4 192.0.2.1\r\n")
        self.assertEqual((media.address, d.address_of(media)), ("", "192.0.2.1"))
        d, media = self.media()
        self.assertEqual(d.address_of(media), "")

    def test_a_line_made_by_hand(self) -> None:
        """A c= that nobody has checked gives no address rather than a wrong one."""
        self.assertEqual(Description(["v=0", "c=nonsense"]).address, "")

    def test_held(self) -> None:
        """Hold in all its kinds, in the stream or in the session (RFC 3264 §8.4); recvonly holds nobody."""
        for line, held in (
            ("a=sendonly", True),
            ("a=inactive", True),
            ("c=IN IP4 0.0.0.0", True),
            ("c=IN IP6 ::", True),
            ("a=recvonly", False),
        ):
            d, media = self.media(line)
            self.assertEqual((media.held, d.is_held(media)), (held, held))
            d, media = self.media(session=line + "\r\n")
            self.assertEqual((media.held, d.is_held(media)), (False, held))

    def test_rtcp(self) -> None:
        """RTCP goes to a=rtcp (RFC 3605), else to the next port; nonsense counts as nothing said."""
        for line, port, address in (
            ("a=rtcp:53020", 53020, ""),
            ("a=rtcp:53020 IN IP4 192.0.2.7", 53020, "192.0.2.7"),
            ("a=rtcp:53020 IN IP6 2001:db8::7", 53020, "2001:db8::7"),
            ("a=rtcp:70000", 4001, ""),
            ("a=rtcp:x", 4001, ""),
            ("a=ptime:20", 4001, ""),
        ):
            _, media = self.media(line)
            self.assertEqual((media.rtcp_port, media.rtcp_address), (port, address))
        self.assertEqual(self.media(port=0)[1].rtcp_port, 0)
        self.assertEqual(self.media(port=65535)[1].rtcp_port, 0)

    def test_rtcp_mux(self) -> None:
        """One port for both is offered by rtcp-mux (RFC 5761) or demanded by rtcp-mux-only (RFC 8858)."""
        self.assertTrue(self.media("a=rtcp-mux")[1].rtcp_mux)
        self.assertTrue(self.media("a=rtcp-mux-only")[1].rtcp_mux)
        self.assertFalse(self.media("a=rtcp:1")[1].rtcp_mux)

    def test_encoding(self) -> None:
        """A payload type is what a=rtpmap says, else what RFC 3551 says."""
        _, media = self.media("a=rtpmap:96 opus/48000/2", "a=rtpmap:8 X/8000 ")
        self.assertEqual(
            [media.encoding(number) for number in ("96", "8", "0", "9", "77")], ["opus/48000/2", "X/8000", "PCMU/8000", "G722/8000", ""]
        )

    def test_copy(self) -> None:
        """A copy can be changed without changing what it was made of."""
        d = parse_description(HEAD + "m=video 49170/2 RTP/AVP 31\r\na=ptime:20\r\n")
        before = str(d)
        twin = d.copy()
        self.assertEqual(str(twin), before)
        twin.lines.append("a=x")
        twin.media[0].lines.clear()
        twin.media[0].formats.append("9")
        twin.media.append(Media("audio", 0, "RTP/AVP", ["0"]))
        self.assertEqual(str(d), before)

    def test_in_a_log(self) -> None:
        """What is seen in a log is short."""
        d, media = self.media()
        self.assertEqual((repr(media), repr(d)), ("<m=audio 4000 RTP/AVP 0>", "<Description '' [<m=audio 4000 RTP/AVP 0>]>"))
        self.assertEqual(str(media), "m=audio 4000 RTP/AVP 0\r\n")


class RewritingTests(SynchronousTestCase):
    """What a relay takes out or puts in; the description given stays as it was."""

    TEXT = (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\na=group:LS a v\r\na=ice-lite\r\na=ice-options:trickle\r\n"
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\na=mid:a\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\n"
        "a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n"
        "a=remote-candidates:1 192.0.2.3 45664\r\na=end-of-candidates\r\na=rtcp-mux\r\n"
        "m=video 0 RTP/AVP 31\r\nc=IN IP4 192.0.2.1\r\na=mid:v\r\na=bundle-only\r\n"
    )

    def test_ice(self) -> None:
        """No line of ICE is left (RFC 8839 §5), everything else is."""
        d = parse_description(self.TEXT)
        out = strip_ice(d)
        for word in ("ice", "candidate"):
            self.assertNotIn(word, str(out))
        self.assertEqual(out.media[0].lines, ["c=IN IP4 192.0.2.1", "a=mid:a", "a=rtcp-mux"])
        self.assertEqual(str(d), self.TEXT)

    def test_bundle(self) -> None:
        """No BUNDLE is left (RFC 9143), another group is; a bundle-only stream is a refused one."""
        d = parse_description(self.TEXT)
        out = remove_bundle(d)
        self.assertNotIn("BUNDLE", str(out))
        self.assertIn("a=group:LS a v", out.lines)
        self.assertEqual((out.media[1].port, out.media[1].lines), (0, ["c=IN IP4 192.0.2.1", "a=mid:v"]))
        self.assertEqual(str(d), self.TEXT)

    def test_address(self) -> None:
        """One address, said once, before t= as RFC 8866 §5 orders the lines."""
        d = parse_description(self.TEXT)
        out = with_address(d, "198.51.100.9")
        self.assertEqual(out.lines[:5], ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 198.51.100.9", "t=0 0"])
        self.assertEqual([out.address_of(media) for media in out.media], ["198.51.100.9"] * 2)
        self.assertNotIn("c=", str(out.media[0]))
        self.assertEqual(str(d), self.TEXT)
        self.assertIn("c=IN IP6 2001:db8::9\r\n", str(with_address(d, "2001:db8::9")))
        self.assertEqual(with_address(Description(["v=0"]), "192.0.2.1").lines, ["v=0", "c=IN IP4 192.0.2.1"])

    def test_hold_by_address(self) -> None:
        """A stream that is held by 0.0.0.0 stays held, whether the session or the stream said so (RFC 3264 §8.4)."""
        d = parse_description(
            "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4 RTP/AVP 0\r\ni=x\r\na=y\r\nm=audio 6 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n"
        )
        out = with_address(d, "198.51.100.9")
        self.assertEqual([out.address_of(media) for media in out.media], ["0.0.0.0", "198.51.100.9"])
        self.assertEqual(out.media[0].lines, ["i=x", "c=IN IP4 0.0.0.0", "a=y"])
