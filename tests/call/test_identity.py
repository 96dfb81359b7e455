"""Identity between networks: RFC 3323, RFC 3325."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.call.identity import asserted, wants_privacy
from pbx.call.rewriting import Rewriting
from pbx.sip.message import Request, parse_message


def invite(*lines: str, from_: str = '"Ann" <sip:555@carrier.example>;tag=1') -> Request:
    """An INVITE with these header lines."""
    head = [
        "INVITE sip:100@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK1",
        f"From: {from_}",
        "To: <sip:100@192.0.2.1>",
        "Call-ID: a",
        "CSeq: 1 INVITE",
        *lines,
        "Content-Length: 0",
    ]
    message = parse_message(("\r\n".join(head) + "\r\n\r\n").encode())
    assert isinstance(message, Request)
    return message


class AssertedTests(SynchronousTestCase):
    """Who calls, as a trusted peer tells it."""

    def test_asserted_identity_before_from(self) -> None:
        """RFC 3325 §9.1: P-Asserted-Identity says who it is, in whatever scheme."""
        self.assertEqual(asserted(invite('P-Asserted-Identity: "Bob" <sip:+49301@carrier.example>')), ("+49301", "Bob"))
        self.assertEqual(asserted(invite("P-Asserted-Identity: <tel:+49-30-1>"))[0], "+49301")

    def test_from_without_it(self) -> None:
        """Without one, or with one that breaks the grammar, From counts."""
        self.assertEqual(asserted(invite()), ("555", "Ann"))
        self.assertEqual(asserted(invite("P-Asserted-Identity: <sip:")), ("555", "Ann"))

    def test_privacy(self) -> None:
        """RFC 3323 §4.2: who asks not to be shown is not shown, whatever is asserted."""
        for value in ("id", "user;critical", "header, id", "ID"):
            request = invite("P-Asserted-Identity: <sip:1@a.example>", f"Privacy: {value}")
            self.assertTrue(wants_privacy(request), value)
            self.assertEqual(asserted(request), ("", ""))
        self.assertFalse(wants_privacy(invite("Privacy: none")))

    def test_anonymous_from(self) -> None:
        """RFC 3323 §4.1.1.3: the anonymous From names nobody."""
        self.assertEqual(asserted(invite(from_='"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1')), ("", ""))
        self.assertEqual(asserted(invite(from_="<sip:anonymous@carrier.example>;tag=1")), ("", ""))


class RewritingTests(SynchronousTestCase):
    """``[routing.rewrite]``."""

    def test_longest_prefix(self) -> None:
        """The longest prefix decides; what none fits stays."""
        rewrite = Rewriting({"00": (2, "+"), "0049": (4, "0"), "": (0, "9")})
        self.assertEqual([rewrite(number) for number in ("0033123", "004930", "5")], ["+33123", "030", "95"])
        self.assertEqual(Rewriting({"00": (2, "+")})("5"), "5")
        self.assertFalse(Rewriting({}))
