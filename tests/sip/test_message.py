"""Tests of `pbx.sip.message`, `pbx.sip.names`, `pbx.sip.body` and `pbx.sip.transaction_key`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.errors import ParseError
from pbx.sip.headers import STAR, CSeq
from pbx.sip.message import Request, Response, parse_message, transaction_key

INVITE = (
    "INVITE sip:bob@biloxi.example SIP/2.0\r\n"
    "Via: SIP/2.0/UDP pc33.atlanta.example:5060;rport;branch=z9hG4bK776asdhds\r\n"
    "Max-Forwards: 70\r\n"
    'To: "Bob" <sip:bob@biloxi.example>\r\n'
    "From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
    "Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n"
    "CSeq: 314159 INVITE\r\n"
    "Contact: <sip:alice@pc33.atlanta.example>\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: 5\r\n"
    "\r\n"
    "v=0\r\n"
)


def request(text: str | bytes = INVITE) -> Request:
    """Parse what must be a request."""
    message = parse_message(text if isinstance(text, bytes) else text.encode())
    assert isinstance(message, Request)
    return message


def response(text: str) -> Response:
    """Parse what must be a response."""
    message = parse_message(text.encode())
    assert isinstance(message, Response)
    return message


class StartLineTests(SynchronousTestCase):
    """Request-Line and Status-Line (RFC 3261 §7.1, §7.2)."""

    def test_request(self) -> None:
        """Method, Request-URI and body are there, and nothing is wrong."""
        message = request()
        self.assertEqual(
            (message.method, message.target, message.version, message.flaw), ("INVITE", "sip:bob@biloxi.example", "SIP/2.0", "")
        )
        self.assertEqual(message.body, b"v=0\r\n")
        self.assertEqual(str(message.uri), "sip:bob@biloxi.example")
        self.assertEqual(repr(message), "<INVITE sip:bob@biloxi.example>")
        self.assertEqual((message.header_count, message.size), (9, len(INVITE)))

    def test_unknown_method(self) -> None:
        """Any token is a method (RFC 4475 §3.1.1.2)."""
        self.assertEqual(request("!Odd.%indeed'~ sip:h sip/2.0\r\n\r\n").method, "!Odd.%indeed'~")

    def test_response(self) -> None:
        """Status and reason, which may be empty or foreign (RFC 4475 §3.1.1.12, .13)."""
        self.assertEqual((response("SIP/2.0 200 OK\r\n\r\n").status, response("SIP/2.0 200 OK\r\n\r\n").reason), (200, "OK"))
        self.assertEqual(response("SIP/2.0 100 \r\n\r\n").reason, "")
        self.assertEqual(response("SIP/2.0 100\r\n\r\n").reason, "")
        self.assertEqual(response("SIP/2.0 200 но сто\r\n\r\n").reason, "но сто")
        self.assertEqual(repr(response("SIP/2.0 486 Busy Here\r\n\r\n")), "<486 Busy Here>")

    def test_other_version(self) -> None:
        """The version is kept, so that 505 can be answered (RFC 4475 §3.1.2.16)."""
        self.assertEqual(request("OPTIONS sip:h SIP/7.0\r\n\r\n").version, "SIP/7.0")
        self.assertEqual(response("SIP/7.0 200 OK\r\n\r\n").version, "SIP/7.0")

    def test_extra_blanks(self) -> None:
        """Blanks too many are noted, and the rest is read (RFC 4475 §3.1.2.8 to .10)."""
        for line in (
            "INVITE  sip:h  SIP/2.0",
            "INVITE sip:h; lr SIP/2.0",
            "INVITE sip:h SIP/2.0  ",
            " INVITE sip:h SIP/2.0",
            "IN/VITE sip:h SIP/2.0",
        ):
            with self.subTest(line=line):
                message = request(f"{line}\r\nTo: x\r\n\r\n")
                self.assertEqual((message.flaw, message.first("to")), ("Malformed request line", "x"))

    def test_not_sip(self) -> None:
        """What does not begin like SIP is refused, and nothing else is raised."""
        for data in (
            b"",
            b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"SIP/2.0 4294967301 x\r\n\r\n",
            b"SIP/2.0 20 x\r\n\r\n",
            b"\x80\x00\xff",
            b"INVITE\r\n\r\n",
        ):
            with self.subTest(data=data):
                self.assertRaises(ParseError, parse_message, data)


class HeaderLineTests(SynchronousTestCase):
    """Header lines (RFC 3261 §7.3.1)."""

    def lines(self, text: str) -> Request:
        return request(f"OPTIONS sip:h SIP/2.0\r\n{text}\r\n\r\n")

    def test_names(self) -> None:
        """Case does not matter, compact forms are the same (§7.3.3), blanks before the colon are allowed."""
        message = self.lines("v: 1\r\nVIA : 2\r\nvIa:3\r\nK:a\r\nX-Odd\t: 4\r\nC%6Fntact: 5")
        self.assertEqual(message.headers, {"via": ["1", "2", "3"], "supported": ["a"], "x-odd": ["4"], "c%6fntact": ["5"]})

    def test_folding(self) -> None:
        """Folded lines are one line (RFC 4475 §3.1.1.1)."""
        message = self.lines("TO :\r\n sip:h ;   tag    = 1918181833n\r\nX-A: b  \r\n\t \tc\r\n d\r\nX-E:f")
        self.assertEqual(message.headers, {"to": ["sip:h ;   tag    = 1918181833n"], "x-a": ["b c d"], "x-e": ["f"]})
        self.assertEqual(message.to_tag, "1918181833n")

    def test_blanks(self) -> None:
        """Only space and tab are blanks: others belong to the value."""
        self.assertEqual(self.lines("X-A: \t\xa0\x1c a \x85 ").first("x-a"), "\xa0\x1c a \x85")

    def test_no_name(self) -> None:
        """A line that is no header is noted."""
        for line in ("no colon", ": no name", "no name: x", "nämlich: x"):
            with self.subTest(line=line):
                message = self.lines(f"{line}\r\nTo: x")
                self.assertEqual((message.flaw, message.headers), ("A header line without a name and a colon", {"to": ["x"]}))

    def test_bare_line_ends(self) -> None:
        """A lone CR or LF is noted and does not get into a value: nothing can be smuggled to whom the value is copied."""
        for text in ("X-A: a\nTo: evil", "X-A: a\rTo: evil"):
            message = self.lines(text)
            self.assertEqual((message.flaw, message.headers), ("A line end that is not CRLF", {"x-a": ["a To: evil"]}))

    def test_truncated(self) -> None:
        """A message that ends in its headers is read as far as it goes."""
        for text in (INVITE[:100], INVITE[: INVITE.index("Max-Forwards")]):
            message = request(text)
            self.assertEqual((message.flaw, message.body, "via" in message.headers), ("No empty line after the headers", b"", True))

    def test_undecodable(self) -> None:
        """Octets that are no UTF-8 are kept, and come out again."""
        value = request(b"OPTIONS sip:h SIP/2.0\r\nSubject: \xff\xfe\r\n\r\n").first("subject")
        assert value is not None
        self.assertEqual(value.encode("utf-8", "surrogateescape"), b"\xff\xfe")

    def test_longest_line(self) -> None:
        """The longest line is known in messages that are large enough to matter."""
        self.assertEqual(self.lines("X-A: b\r\nX-C: " + "d" * 3000).line_length, 3005)


class ValueTests(SynchronousTestCase):
    """Typed values, on demand."""

    def test_values(self) -> None:
        """Each is found."""
        message = request()
        self.assertEqual(message.call_id, "a84b4c76e66710@pc33.atlanta.example")
        self.assertEqual(message.cseq, CSeq(314159, "INVITE"))
        self.assertEqual((message.from_.display, message.from_tag), ("Alice", "1928301774"))
        self.assertEqual((message.to.display, message.to_tag), ("Bob", ""))
        self.assertEqual(message.via.branch, "z9hG4bK776asdhds")
        self.assertEqual(message.vias, [message.via])
        assert message.contact is not None
        self.assertEqual(str(message.contact), "<sip:alice@pc33.atlanta.example>")
        self.assertEqual(message.record_routes, [])
        self.assertEqual((message.content_type, message.sdp), ("application/sdp", "v=0\r\n"))
        self.assertEqual((message.first("max-forwards"), message.first("subject"), message.all("subject")), ("70", None, []))

    def test_kept(self) -> None:
        """A value is parsed once."""
        message = request()
        for name in ("cseq", "from_", "to", "via", "vias", "contacts", "record_routes", "uri"):
            self.assertIs(getattr(message, name), getattr(message, name))

    def test_unknown_attribute(self) -> None:
        """A misspelt attribute is an error as everywhere."""
        self.assertRaises(AttributeError, getattr, request(), "form")
        self.assertRaises(AttributeError, getattr, response("SIP/2.0 200 OK\r\n\r\n"), "method")

    def test_missing(self) -> None:
        """A header that is not there is a ParseError, an empty list or nothing."""
        message = request("OPTIONS sip:h SIP/2.0\r\n\r\n")
        for name in ("call_id", "cseq", "from_", "from_tag", "to", "to_tag", "via", "key"):
            with self.subTest(name=name):
                self.assertRaises(ParseError, getattr, message, name)
        self.assertEqual((message.contacts, message.contact, message.vias, message.content_type, message.sdp), ([], None, [], "", None))

    def test_star(self) -> None:
        """``Contact: *`` is no contact (RFC 3261 §10.2.2)."""
        message = request("REGISTER sip:h SIP/2.0\r\nm: *\r\n\r\n")
        self.assertIs(message.contacts, STAR)
        self.assertIsNone(message.contact)

    def test_lists(self) -> None:
        """Option tags are found over all lines, in any case, and never as a part of another one."""
        message = request("OPTIONS sip:h SIP/2.0\r\nSupported: path, 100REL\r\nk: x-timer\r\n\r\n")
        self.assertEqual(message.all("supported"), ["path", "100REL", "x-timer"])
        self.assertTrue(message.lists("supported", "100rel"))
        self.assertFalse(message.lists("supported", "timer"))
        self.assertFalse(message.lists("require", "timer"))

    def test_many_vias(self) -> None:
        """Vias of several lines and lists are in order, the topmost first."""
        message = request("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=1 , SIP/2.0/TCP b\r\nv: SIP/2.0/UDP c\r\n\r\n")
        self.assertEqual(message.via.host, "a")
        self.assertEqual([via.host for via in message.vias], ["a", "b", "c"])
        self.assertEqual(message.key, (b"1", b"a"))

    def test_empty_list(self) -> None:
        """A Via of commas is broken."""
        self.assertRaises(ParseError, getattr, request("OPTIONS sip:h SIP/2.0\r\nVia: ,,\r\n\r\n"), "via")


class StampTests(SynchronousTestCase):
    """What a server writes into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4)."""

    def stamped(self, via: str, host: str = "192.0.2.7", read_before: bool = False) -> str:
        message = request(f"OPTIONS sip:h SIP/2.0\r\nVia: {via}\r\n\r\n")
        if read_before:
            self.assertTrue(message.vias and message.via)
        message.stamp(host, 40000)
        if read_before:
            self.assertEqual(message.vias[0], message.via)
            self.assertEqual(str(message.via), message.headers["via"][0].split(", ")[0])
        return message.headers["via"][0]

    def test_rport(self) -> None:
        """Source address and port are written where rport asks for them, and the rest stays as it was."""
        for read in (False, True):
            self.assertEqual(
                self.stamped("SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bK1", read_before=read),
                "SIP/2.0/UDP 192.0.2.7:5060;rport=40000;branch=z9hG4bK1;received=192.0.2.7",
            )
            self.assertEqual(
                self.stamped("SIP/2.0/UDP h;branch=z9hG4bK1;rport", read_before=read),
                "SIP/2.0/UDP h;branch=z9hG4bK1;rport=40000;received=192.0.2.7",
            )

    def test_received(self) -> None:
        """Without rport, the address is written if sent-by says something else."""
        self.assertEqual(self.stamped("SIP/2.0/UDP h;branch=z9hG4bK1"), "SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.7")
        self.assertEqual(self.stamped("SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"), "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1")
        self.assertEqual(self.stamped("SIP/2.0/UDP 192.0.2.7"), "SIP/2.0/UDP 192.0.2.7")
        self.assertEqual(self.stamped("SIP/2.0/UDP [2001:DB8::1]", "2001:db8::1"), "SIP/2.0/UDP [2001:DB8::1]")
        self.assertEqual(self.stamped("SIP/2.0/UDP [2001:db8::1]", "2001:db8::2"), "SIP/2.0/UDP [2001:db8::1];received=2001:db8::2")

    def test_forged(self) -> None:
        """What the sender wrote there himself is replaced, or removed."""
        self.assertEqual(
            self.stamped("SIP/2.0/UDP h;received=203.0.113.9;rport=9;branch=1", read_before=True),
            "SIP/2.0/UDP h;rport=40000;branch=1;received=192.0.2.7",
        )
        self.assertEqual(self.stamped("SIP/2.0/UDP 192.0.2.7;received=203.0.113.9"), "SIP/2.0/UDP 192.0.2.7")

    def test_only_the_topmost(self) -> None:
        """Vias behind it in the same line stay as they are."""
        self.assertEqual(
            self.stamped("SIP/2.0/UDP h;rport;branch=1,SIP/2.0/UDP b ;rport", read_before=True),
            "SIP/2.0/UDP h;rport=40000;branch=1;received=192.0.2.7, SIP/2.0/UDP b ;rport",
        )

    def test_broken(self) -> None:
        """A Via that nobody can read stays, for the 400 that it earns."""
        self.assertEqual(self.stamped("SIP/2.0/UDP h;;"), "SIP/2.0/UDP h;;")
        request("OPTIONS sip:h SIP/2.0\r\n\r\n").stamp("192.0.2.7", 1)


class TransactionKeyTests(SynchronousTestCase):
    """Branch and sent-by without a parse (RFC 3261 §17.2.3)."""

    def message(self, *lines: str, body: str = "") -> bytes:
        return "".join(["OPTIONS sip:h SIP/2.0\r\n", *(f"{line}\r\n" for line in lines), "\r\n", body]).encode()

    def test_plain(self) -> None:
        """What is plain to see is what the parse finds."""
        for lines in (
            ["Via: SIP/2.0/UDP H.example:5060;rport;branch=z9hG4bKaB"],
            ["To: x", "v:SIP/2.0/TCP h;branch=z9hG4bKaB;alias"],
            ["To: x", "VIA : SIP/2.0/UDP h;branch=z9hG4bKaB,SIP/2.0/UDP b;branch=z9hG4bKno"],
            ["Via: SIP/2.0/UDP [2001:db8::1]:5060;xbranch=no;branch=z9hG4bKaB", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
        ):
            with self.subTest(lines=lines):
                data = self.message(*lines)
                key = transaction_key(data)
                self.assertEqual(key, parse_message(data).key)
                assert key is not None
                self.assertEqual(key[0], b"z9hG4bKaB")

    def test_not_plain(self) -> None:
        """Anything else is left to the parse, and never taken from another Via or from the body."""
        for lines in (
            [],
            ["To: x"],
            ["To: x", "Via: SIP/2.0/UDP a b;branch=z9hG4bK1"],
            ["Via: SIP/2.0/UDP a"],
            ["To: x", "Via: SIP/2.0/UDP a;rport"],
            ["Via: SIP/2.0/UDP a;rport", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
            ["Via: SIP/2.0/UDP a;branch=z9hG4bK1", " 2"],
            ["To: x", "Via: SIP/2.0/UDP a;branch=z9hG4bK1", "\t;x=2", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
            ["Via: SIP / 2.0 / UDP a;branch=z9hG4bK1", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
            ['Via: SIP/2.0/UDP a;x=";branch=no";branch=z9hG4bK1'],
            ["Via: SIP/2.0/UDP a ;branch = z9hG4bK1", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
            ["Via:", " SIP/2.0/UDP a;branch=z9hG4bK1", "Via: SIP/2.0/UDP b;branch=z9hG4bKno"],
        ):
            with self.subTest(lines=lines):
                self.assertIsNone(transaction_key(self.message(*lines, body="\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKbody\r\n")))

    def test_old_peers(self) -> None:
        """RFC 2543 peers have no branch."""
        self.assertEqual(request("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP H:5060\r\n\r\n").key, (b"", b"h:5060"))


class MultipartTests(SynchronousTestCase):
    """A session description inside of other things (RFC 5621, RFC 2046 §5.1)."""

    def sdp(self, content_type: str, body: str) -> str | None:
        return request(f"INVITE sip:h SIP/2.0\r\nContent-Type: {content_type}\r\n\r\n{body}").sdp

    def test_part(self) -> None:
        """It is found among others, with its line ends."""
        body = "preamble\r\n--b 1 \t\r\n\r\nplain text\r\n--b 1\r\nc:\r\n Application/SDP;x=y\r\n\r\nv=0\r\ns=-\r\n\r\n--b 1--\r\nv=no"
        for kind in ("mixed", "alternative", "Related"):
            self.assertEqual(self.sdp(f'multipart/{kind};boundary="b 1"', body), "v=0\r\ns=-\r\n")

    def test_nested(self) -> None:
        """Two levels are looked into, and not three."""

        def wrapped(inner: str, mark: str) -> str:
            return f"--{mark}\r\nContent-Type: {inner}\r\n\r\n"

        inner = wrapped("application/sdp", "c") + "v=0\r\n--c--"
        middle = wrapped("multipart/mixed;boundary=c", "b") + inner + "\r\n--b--"
        self.assertEqual(self.sdp("multipart/mixed;boundary=b", middle), "v=0")
        self.assertIsNone(self.sdp("multipart/mixed;boundary=a", wrapped("multipart/mixed;boundary=b", "a") + middle + "\r\n--a--"))

    def test_broken(self) -> None:
        """Broken ones hold nothing."""
        for kind, body in (
            ("multipart/mixed", "--b\r\n\r\nv=0"),
            ("multipart/mixed;;", "--b\r\n\r\nv=0"),
            ("multipart/mixed;boundary=b", "--b"),
            ("multipart/mixed;boundary=b", "--bc\r\nContent-Type: application/sdp\r\n\r\nv=0"),
            ("multipart/signed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0"),
            ("text/plain", "v=0"),
            ("application/sdp", ""),
        ):
            with self.subTest(kind=kind, body=body):
                self.assertIsNone(self.sdp(kind, body))

    def test_no_type(self) -> None:
        """A body without a type is not guessed at."""
        self.assertIsNone(request("INVITE sip:h SIP/2.0\r\n\r\nv=0").sdp)
