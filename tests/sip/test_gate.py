"""Tests of `pbx.sip.gate`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.gate import Caps, check_request, check_response
from pbx.sip.message import Request
from tests.sip.test_message import INVITE, request, response

OK = (
    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n"
    "Call-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:b@h>\r\nRecord-Route: <sip:p;lr>\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)


def with_body(message: str, content_type: str, body: str) -> str:
    """The message with another body."""
    head = message.partition("\r\n\r\n")[0]
    lines = [line for line in head.split("\r\n") if not line.startswith("Content-")]
    return "\r\n".join([*lines, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", "", body])


class RequestTests(SynchronousTestCase):
    """What a request must satisfy (RFC 3261 §8.1.1, §8.2)."""

    def check(self, old: str, new: str, status: int | None, reason: str = "", caps: Caps | None = None) -> Request:
        assert old in INVITE
        message = request(INVITE.replace(old, new))
        with self.subTest(new=new):
            fault = check_request(message, caps or Caps())
            self.assertEqual(fault and fault.status, status)
            if fault is not None:
                self.assertEqual((fault.reason, fault.answerable, fault.headers), (reason, True, ""))
        return message

    def test_good(self) -> None:
        """A usual request passes, and its tags are known."""
        message = self.check("Bob", "Bob", None)
        self.assertEqual((message.from_tag, message.to_tag, message.cseq.number), ("1928301774", "", 314159))

    def test_unusual(self) -> None:
        """So does one that is unusual, but right."""
        message = self.check("To: ", 'To: "a\\"b" ', 400, "Malformed To")
        message = self.check('To: "Bob"', 'To: "B\\"ob" ', None)
        self.assertEqual(message.to.display, 'B"ob')
        self.check("sip:bob@biloxi.example SIP", "tel:+12125550101 SIP", None)
        self.check("sip:bob@biloxi.example SIP", "sips:b%20b:x@[::1]:5061;a=b;c SIP", None)
        self.check("Max-Forwards: 70\r\n", "", None)
        self.check("Content-Length: 5\r\n", "", None)
        self.check("Contact: ", "Contact: <sip:c@h>;q=0.1, ", None)
        self.check("Contact: <sip:alice@pc33.atlanta.example>", "Contact: *", None)
        message = self.check(";tag=1928301774", ";x;tag=1928301774", None)
        self.assertEqual(message.from_tag, "1928301774")

    def test_missing(self) -> None:
        """Without one of the five headers it is refused (RFC 4475 §3.3.1)."""
        self.check("To: ", "X-To: ", 400, "Missing To")
        self.check("From: ", "X-From: ", 400, "Missing From")
        self.check("Call-ID: ", "X-Call-ID: ", 400, "Missing Call-ID")
        self.check("CSeq: ", "X-CSeq: ", 400, "Missing CSeq")

    def test_repeated(self) -> None:
        """What must be there once is not there twice (RFC 4475 §3.3.8, .9)."""
        for line, name in (
            ("To: <sip:x@h>", "To"),
            ("From: <sip:x@h>", "From"),
            ("Call-ID: 2", "Call-ID"),
            ("CSeq: 1 INVITE", "CSeq"),
            ("Content-Length: 5", "Content-Length"),
            ("Max-Forwards: 70", "Max-Forwards"),
            ("Content-Type: x/y", "Content-Type"),
        ):
            self.check("Max-Forwards", f"{line}\r\nMax-Forwards", 400, f"More than one {name}")

    def test_malformed(self) -> None:
        """A broken value of these is refused (RFC 4475 §3.1.2, §3.3)."""
        self.check("CSeq: 314159", "CSeq: 2147483648", 400, "Malformed CSeq")
        self.check("Call-ID: ", "Call-ID: a b", 400, "Malformed Call-ID")
        self.check("Alice <", "Alice, Ms <", 400, "Malformed From")
        self.check('To: "Bob"', 'To: "Bob', 400, "Malformed To")
        self.check("Contact: <sip:alice@pc33.atlanta.example>", "Contact: sip:a@h?Route=x", 400, "Malformed Contact")
        self.check("Contact: ", "Record-Route: x\r\nContact: ", 400, "Malformed Record-Route")
        self.check(";branch=z9hG4bK776asdhds", ";;,;,,", 400, "Malformed Via")
        self.check("z9hG4bK776asdhds", "z9hG4bK", 400, "Malformed Via")
        self.check(";rport;branch=z9hG4bK776asdhds", ";x;branch=z9hG4bK", 400, "Malformed Via")

    def test_method(self) -> None:
        """The method is that of CSeq (RFC 4475 §3.1.2.17, .18)."""
        self.check("CSeq: 314159 INVITE", "CSeq: 314159 invite", 400, "CSeq method differs from the request's")

    def test_target(self) -> None:
        """The Request-URI is a SIP, SIPS or tel URI without headers (RFC 4475 §3.1.2.7, .11, §3.3.2)."""
        self.check("INVITE sip:bob@biloxi.example", "INVITE soap.beep://192.0.2.103", 416)
        self.check("INVITE sip:bob@biloxi.example", "INVITE <sip:bob@biloxi.example>", 400, "Malformed Request-URI")
        self.check("INVITE sip:bob@biloxi.example", "INVITE sip:bob@h?Route=%3Csip:x%3E", 400, "Malformed Request-URI")
        self.check("INVITE sip:bob@biloxi.example", "INVITE sip:2001:db8::10", 400, "Malformed Request-URI")

    def test_shape(self) -> None:
        """Start line and header lines have their shape."""
        self.check("INVITE sip", "INVITE  sip", 400, "Malformed request line")
        self.check("To: ", "nonsense\r\nTo: ", 400, "A header line without a name and a colon")

    def test_version(self) -> None:
        """505 comes before all else (RFC 4475 §3.1.2.16)."""
        self.check("SIP/2.0", "SIP/7.0", 505)

    def test_hops(self) -> None:
        """Max-Forwards is 0 to 255 (RFC 3261 §20.22), and a request at 0 goes no further (§16.3)."""
        self.check("Max-Forwards: 70", "Max-Forwards: 0", 483)
        self.check("Max-Forwards: 70", "Max-Forwards: 255", None)
        self.check("Max-Forwards: 70", "Max-Forwards: 0068", None)
        self.check("Max-Forwards: 70", "Max-Forwards: 256", 400, "Malformed Max-Forwards")
        self.check("Max-Forwards: 70", "Max-Forwards: -1", 400, "Malformed Max-Forwards")
        self.check("Max-Forwards: 70", "Max-Forwards: 7_0", 400, "Malformed Max-Forwards")

    def test_hops_of_what_is_for_us(self) -> None:
        """At 0, what goes no further anyway is answered: within a dialog, REGISTER, CANCEL."""
        text = INVITE.replace("Max-Forwards: 70", "Max-Forwards: 0")
        self.assertIsNone(check_request(request(text.replace("<sip:bob@biloxi.example>", "<sip:bob@biloxi.example>;tag=1"))))
        for method in ("REGISTER", "CANCEL", "ACK"):
            self.assertIsNone(check_request(request(text.replace("INVITE", method))))

    def test_body(self) -> None:
        """A body that is too short is refused, and what follows it is cut off (RFC 3261 §18.3; RFC 4475 §3.1.1.8, §3.1.2.2, .3)."""
        self.assertEqual(self.check("v=0", "v=01", None).body, b"v=01\r")
        self.check("Content-Length: 5", "Content-Length: 9999", 400, "Content-Length exceeds the body")
        self.check("Content-Length: 5", "Content-Length: -999", 400, "Malformed Content-Length")
        self.check("Content-Length: 5", "Content-Length: 4294967300", 400, "Malformed Content-Length")

    def test_caps(self) -> None:
        """What is too much is refused."""
        self.check("Bob", "Bob", 513, caps=Caps(message=100))
        self.check("Bob", "Bob", 400, "Too many header lines", Caps(headers=8))
        self.check("Bob", "B" * 8200, 400, "A header line that is too long")
        self.check("Max-Forwards", "Via: SIP/2.0/UDP b\r\n" * 70 + "Max-Forwards", 400, "Too many Via")
        self.check("Via: ", "Via: " + "SIP/2.0/UDP b," * 70, 400, "Too many Via")
        self.check("Contact: ", "Contact: " + "<sip:a@h>," * 32, 400, "Too many Contact")

    def test_parts(self) -> None:
        """Ten parts of a body, with those in parts, or as many as the settings say."""
        part = "--b\r\n\r\nx\r\n"
        nested = "--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n"
        self.with_body("multipart/mixed;boundary=b", part * 10, None)
        self.with_body("multipart/mixed;boundary=b", nested * 5, None)
        for body in (part * 11, nested * 5 + part, part * 20000):
            self.with_body("Multipart/Mixed;boundary=b", body, "Too many body parts", Caps(message=1 << 20))
        self.with_body("multipart/mixed;boundary=b", part * 3, "Too many body parts", Caps(parts=2))
        self.with_body("multipart/mixed;boundary=b", part * 30, None, Caps(parts=30))

    def test_streams(self) -> None:
        """Twenty streams of a description, or as many as the settings say: each costs ports."""
        stream = "m=audio 4000 RTP/AVP 0\r\n"
        self.with_body("application/sdp", "v=0\r\n" + stream * 20, None)
        self.with_body("application/sdp", "v=0\r\n" + stream * 21, "Too many media streams")
        self.with_body("application/sdp", "v=0\r\n" + stream * 2, "Too many media streams", Caps(streams=1))
        self.with_body("application/sdp", "v=0\r\n" + stream * 30, None, Caps(streams=30))
        part = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"
        self.with_body("multipart/mixed;boundary=b", part + stream * 21, "Too many media streams")
        self.with_body("text/plain", "v=0\r\n" + stream * 21, None)

    def with_body(self, content_type: str, body: str, reason: str | None, caps: Caps | None = None) -> None:
        """``reason``: that of the 400; None: it is let through."""
        with self.subTest(content_type=content_type, body=body[:60], octets=len(body)):
            message = request(with_body(INVITE, content_type, body))
            fault = check_request(message, caps or Caps())
            self.assertEqual(fault and (fault.status, fault.reason), reason and (400, reason))

    def test_unanswerable(self) -> None:
        """An ACK is never answered (RFC 3261 §17), nor what names nobody to answer."""
        for text in (INVITE.replace("INVITE sip", "ACK sip"), INVITE.replace("Via: ", "X-Via: ")):
            fault = check_request(request(text))
            assert fault is not None
            self.assertFalse(fault.answerable)
            self.assertIn("not answered", repr(fault))


class ResponseTests(SynchronousTestCase):
    """Which responses go on (RFC 3261 §18.1.2)."""

    def check(self, old: str, new: str, good: bool) -> None:
        assert old in OK
        with self.subTest(new=new):
            self.assertEqual(check_response(response(OK.replace(old, new))), good)

    def test_good(self) -> None:
        """A usual one."""
        self.check("OK", "OK", True)
        self.check("200", "699", True)

    def test_dropped(self) -> None:
        """What is broken where it matters is dropped (RFC 4475 §3.1.2.5)."""
        self.check("200", "099", False)
        self.check("200", "700", False)
        self.check("SIP/2.0 200", "SIP/7.0 200", False)
        self.check("CSeq: 1 ", "CSeq: 9292394834772304023312 ", False)
        self.check("Call-ID: x\r\n", "", False)
        self.check("Content-Length: 5", "Content-Length: 6", False)
        self.check("Content-Length: 5", "nonsense", False)

    def test_body_that_is_too_much(self) -> None:
        """A 200 with too many streams or parts goes on without its body, so that there is somebody to end the call."""
        for kind, body in (("application/sdp", "v=0\r\n" + "m=x 1 y 1\r\n" * 21), ("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n" * 11)):
            with self.subTest(kind=kind):
                message = response(with_body(OK, kind, body))
                self.assertTrue(check_response(message))
                self.assertEqual((message.body, message.sdp), (b"", None))

    def test_broken_contact(self) -> None:
        """A 200 with a broken Contact or Record-Route is not lost, else nobody would end that call; the header is."""
        message = response(OK.replace("<sip:b@h>\r\n", "<sip:b@h\r\n").replace("<sip:p;lr>", "<sip:p;lr"))
        self.assertTrue(check_response(message))
        self.assertIsNone(message.contact)
        self.assertEqual(message.record_routes, [])
