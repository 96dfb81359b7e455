"""Tests of `pbx.sip.build` and `pbx.sip.ids`."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build, grammar
from pbx.sip.gate import check_request, check_response
from pbx.sip.ids import Ids
from pbx.sip.message import Request, Response, parse_message, transaction_key
from tests.sip.test_message import INVITE, request

ROUTES = build.lines(("Route", "<sip:p1.example;lr>"), ("Route", "<sip:p2.example;lr>"))


def invite(
    *,
    method: str = "INVITE",
    target: str = "sip:b@h",
    from_: str = "<sip:a@pbx>;tag=1",
    to: str = "<sip:b@h>",
    call_id: str = "cid",
    extra: str = "",
) -> build.Outgoing:
    """An INVITE of ours."""
    return build.request(
        method,
        target,
        "SIP/2.0/UDP 192.0.2.10:5060;rport",
        "z9hG4bKpbx1",
        from_=from_,
        to=to,
        call_id=call_id,
        cseq=7,
        routes=ROUTES,
        extra=extra,
        body=b"v=0\r\n",
        content_type="application/sdp",
    )


def sent(data: bytes) -> Request:
    """What the far end reads, if it is as strict as we are."""
    message = parse_message(data)
    assert isinstance(message, Request)
    assert check_request(message) is None
    return message


def answered(data: bytes) -> Response:
    """What the far end reads of an answer."""
    message = parse_message(data)
    assert isinstance(message, Response)
    assert check_response(message)
    return message


class RequestTests(SynchronousTestCase):
    """Requests of ours (RFC 3261 §8.1.1)."""

    def test_request(self) -> None:
        """It has all that a request needs, and its body."""
        outgoing = invite(extra=build.lines(("Subject", "hello")))
        message = sent(outgoing.data)
        self.assertEqual((message.method, message.target, str(message.cseq)), ("INVITE", "sip:b@h", "7 INVITE"))
        self.assertEqual(str(message.via), "SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bKpbx1")
        self.assertEqual((message.from_tag, message.to_tag, message.call_id), ("1", "", "cid"))
        self.assertEqual((message.all("route"), message.first("subject")), (["<sip:p1.example;lr>", "<sip:p2.example;lr>"], "hello"))
        self.assertEqual((message.first("max-forwards"), message.sdp), ("70", "v=0\r\n"))
        self.assertEqual(transaction_key(outgoing.data), (outgoing.branch.encode(), b"192.0.2.10:5060"))
        self.assertEqual(repr(outgoing), "<INVITE sip:b@h 7>")

    def test_no_body(self) -> None:
        """Without a body there is no Content-Type, and Content-Length is 0."""
        data = build.request(
            "BYE", "sip:b@h", "SIP/2.0/TCP h", "z9hG4bK2", from_="<sip:a>;tag=1", to="<sip:b>;tag=2", call_id="c", cseq=8
        ).data
        self.assertTrue(data.endswith(b"\r\nContent-Length: 0\r\n\r\n"))
        self.assertNotIn(b"Content-Type", data)

    def test_ack(self) -> None:
        """The ACK to an error: the branch, CSeq number and routes of the INVITE, the To of the response (§17.1.1.3)."""
        message = sent(invite().ack("<sip:b@h>;tag=9"))
        self.assertEqual((message.method, str(message.cseq), message.to_tag), ("ACK", "7 ACK", "9"))
        self.assertEqual((message.via.branch, len(message.all("route")), message.body), ("z9hG4bKpbx1", 2, b""))

    def test_cancel(self) -> None:
        """The CANCEL: the same without the tag (§9.1), with a Reason if there is one."""
        message = sent(invite().cancel(build.lines(("Reason", "SIP;cause=200"))))
        self.assertEqual((message.method, str(message.cseq), message.to_tag), ("CANCEL", "7 CANCEL", ""))
        self.assertEqual((message.via.branch, len(message.all("route")), message.first("reason")), ("z9hG4bKpbx1", 2, "SIP;cause=200"))

    def test_refuses_line_ends(self) -> None:
        """Nobody gets a CR, LF or NUL into a message."""
        for control in "\r\n\0":
            evil = f"x{control}Evil: yes"
            for name in ("from_", "to", "call_id", "target", "method"):
                with self.subTest(name=name, control=control):
                    self.assertRaises(ValueError, invite, **{name: evil.replace(" ", "")})
            self.assertRaises(ValueError, build.lines, ("Subject", evil))
            self.assertRaises(ValueError, build.lines, (evil, "x"))
            self.assertRaises(ValueError, invite().ack, evil)

    def test_refuses_blanks(self) -> None:
        """A blank would make another request line of it."""
        for changes in ({"target": "sip:b@h SIP/2.0"}, {"target": "sip:b\t"}, {"method": "IN VITE"}):
            self.assertRaises(ValueError, invite, **changes)

    def test_refuses_unfinished_lines(self) -> None:
        """Header lines that do not end would swallow the next one."""
        self.assertRaises(ValueError, invite, extra="Subject: x")
        self.assertRaises(ValueError, invite().cancel, "Reason: x")


class ResponseTests(SynchronousTestCase):
    """Responses (RFC 3261 §8.2.6)."""

    def setUp(self) -> None:
        self.request = request(
            INVITE.replace("Max-Forwards", "Via: SIP/2.0/TCP b;branch=1\r\nTimestamp: 54\r\nRecord-Route: <sip:p;lr>\r\nMax-Forwards")
        )

    def test_echo(self) -> None:
        """Via, From, To, Call-ID and CSeq are those of the request; To gets our tag."""
        message = answered(build.response(self.request, 180, to_tag="pbx9"))
        self.assertEqual((message.status, message.reason, message.to_tag), (180, "Ringing", "pbx9"))
        for name in ("via", "from", "call-id", "cseq"):
            self.assertEqual(message.headers[name], self.request.headers[name])
        self.assertNotIn("timestamp", message.headers)
        self.assertEqual(message.body, b"")

    def test_trying(self) -> None:
        """100 repeats the Timestamp (§8.2.6.1), and has no tag of ours."""
        message = answered(build.response(self.request, 100))
        self.assertEqual((message.first("timestamp"), message.to_tag), ("54", ""))

    def test_body_and_extra(self) -> None:
        """A 200 with all that forms a dialog (§12.1.1)."""
        extra = build.record_route_lines(self.request) + build.lines(("Contact", "<sip:b@pbx>"))
        message = answered(build.response(self.request, 200, "Fine", "pbx9", extra, b"v=0\r\n", "application/sdp"))
        self.assertEqual((message.reason, message.sdp, message.first("contact")), ("Fine", "v=0\r\n", "<sip:b@pbx>"))
        self.assertEqual(message.headers["record-route"], ["<sip:p;lr>"])

    def test_tag_stays(self) -> None:
        """Within a dialog, To has its tag already."""
        inside = request(INVITE.replace("<sip:bob@biloxi.example>", "<sip:bob@biloxi.example>;tag=8"))
        self.assertEqual(answered(build.response(inside, 200, to_tag="pbx9")).to_tag, "8")

    def test_stamped_later(self) -> None:
        """The stamp is in every response that is made after it."""
        build.response(self.request, 100)
        self.request.stamp("192.0.2.7", 40000)
        self.assertEqual(answered(build.response(self.request, 180)).via.rport, 40000)

    def test_incomplete_request(self) -> None:
        """A 400 repeats what there is (RFC 4475 §3.3.1, §3.1.2.6)."""
        insufficient = request("INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nCSeq: 1 INVITE\r\n\r\n")
        self.assertEqual(
            build.response(insufficient, 400, to_tag="pbx9"),
            b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
        )
        open_quote = request('INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: "Mr <sip:x>;x="\r\n\r\n')
        self.assertIn(b'\r\nTo: "Mr <sip:x>;x="\r\n', build.response(open_quote, 400, to_tag="pbx9"))

    def test_refuses(self) -> None:
        """Line ends and unfinished lines."""
        self.assertRaises(ValueError, build.response, self.request, 200, "O\r\nK")
        self.assertRaises(ValueError, build.response, self.request, 200, to_tag="a\nb")
        self.assertRaises(ValueError, build.response, self.request, 200, extra="Contact: x")

    def test_unknown_status(self) -> None:
        """A status without a usual phrase has none."""
        self.assertEqual(answered(build.response(self.request, 499)).reason, "")


class IdsTests(SynchronousTestCase):
    """Identifiers (RFC 3261 §8.1.1.4, §8.1.1.7, §19.3)."""

    def test_ids(self) -> None:
        """They begin with the instance, are tokens, and never the same."""
        ids = Ids("n1", Random(1))
        self.assertTrue(ids.branch().startswith("z9hG4bKn1"))
        for make in (ids.branch, ids.tag, ids.call_id):
            made = {make() for _ in range(100)}
            self.assertEqual(len(made), 100)
            self.assertTrue(all(grammar.TOKEN.fullmatch(text) and "n1" in text for text in made))

    def test_numbers(self) -> None:
        """First sequence numbers are at least 1 and leave room below 2**31 (RFC 3262 §3)."""
        ids = Ids("n1", Random(1))
        for _ in range(100):
            self.assertTrue(1 <= ids.cseq() <= 2**16)
            self.assertTrue(1 <= ids.rseq() <= 2**30)
