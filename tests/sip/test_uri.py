"""Tests of `pbx.sip.uri`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.errors import ParseError
from pbx.sip.uri import OtherUri, SipUri, TelUri, equivalent, number_of, parse_uri


class SipUriTests(SynchronousTestCase):
    """SIP and SIPS URIs (RFC 3261 §19.1.1)."""

    def sip(self, text: str) -> SipUri:
        uri = parse_uri(text)
        assert isinstance(uri, SipUri)
        return uri

    def test_all_parts(self) -> None:
        """Each part is found, names and host in lower case, and the text is the same again."""
        uri = self.sip("SIPS:alice:secret@Atlanta.COM:5061;Transport=tcp;lr?Subject=hello%20you&Priority=urgent")
        expected = SipUri(
            host="atlanta.com",
            user="alice",
            port=5061,
            scheme="sips",
            password="secret",
            parameters=(("transport", "tcp"), ("lr", "")),
            headers=(("Subject", "hello you"), ("Priority", "urgent")),
        )
        self.assertEqual(uri, expected)
        self.assertEqual(str(uri), "sips:alice:secret@atlanta.com:5061;transport=tcp;lr?Subject=hello%20you&Priority=urgent")

    def test_host_alone(self) -> None:
        """A host is enough, and there is no user then."""
        self.assertEqual(self.sip("sip:example.com"), SipUri("example.com"))
        self.assertEqual(self.sip("sip:example.com").decoded_user, "")

    def test_semicolon_in_user(self) -> None:
        """The user part may contain a semicolon and a question mark (§19.1.6; RFC 4475 §3.1.1.9)."""
        uri = self.sip("sip:user;par=u%40example.net@example.com;x=1")
        self.assertEqual((uri.user, uri.host, uri.parameters), ("user;par=u%40example.net", "example.com", (("x", "1"),)))
        self.assertEqual(uri.decoded_user, "user;par=u@example.net")

    def test_escaped_parameter(self) -> None:
        """Escaped names and values mean the plain ones (RFC 4475 §3.1.1.3)."""
        uri = self.sip("sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31")
        self.assertEqual(uri.parameter("lr"), "")
        self.assertEqual(uri.parameter("name"), "value%41")
        self.assertEqual(self.sip(str(uri)), uri)

    def test_null_in_user(self) -> None:
        """An escaped NUL is a character like others, and stays escaped (RFC 4475 §3.1.1.4)."""
        self.assertEqual(str(self.sip("sip:%00%00@host5.example.com")), "sip:%00%00@host5.example.com")

    def test_undecodable_escape(self) -> None:
        """Escaped octets that are no UTF-8 come back as they were."""
        uri = self.sip("sip:%ff@h;p=%FF")
        self.assertEqual(str(uri), "sip:%ff@h;p=%FF")
        self.assertEqual(uri.decoded_user, "\udcff")

    def test_ipv6(self) -> None:
        """An IPv6 host keeps its brackets; `address` is without them (RFC 5118 §4.1)."""
        uri = self.sip("sip:user@[2001:DB8::10]:5070")
        self.assertEqual((uri.host, uri.port), ("[2001:db8::10]", 5070))
        self.assertEqual(uri.address, ("2001:db8::10", 5070))

    def test_ambiguous_port(self) -> None:
        """What is inside the brackets belongs to the address (RFC 5118 §4.3)."""
        self.assertEqual(self.sip("sip:[2001:db8::10:5070]").address, ("2001:db8::10:5070", None))

    def test_three_colons(self) -> None:
        """The three colons of RFC 3261's own ABNF are accepted (RFC 5118 §4.10)."""
        self.assertEqual(self.sip("sip:user@[2001:db8:::192.0.2.1]").host, "[2001:db8:::192.0.2.1]")

    def test_raw_number_sign(self) -> None:
        """A phone that does not escape the # of a star code is understood."""
        self.assertEqual(number_of(parse_uri("sip:*90#@pbx.example")), "*90#")

    def test_broken(self) -> None:
        """Everything outside the grammar is refused, with its place."""
        for text, at in (
            ("", 0),
            ("host", 0),
            ("<sip:user@example.com>", 0),
            ("sip:", 4),
            ("sip:@host", 4),
            ("sip:us er@host", 6),
            ("sip:us%er@host", 6),
            ("sip:user:pass word@host", 8),
            ("sip:user@", 9),
            ("sip:2001:db8::10", 8),
            ("sip:host:99999", 9),
            ("sip:host:123456", 14),
            ("sip:host:٥", 8),
            ("sip:user@example.com; lr", 20),
            ("sip:host;a=1;A=2", 12),
            ("sip:host;a=", 10),
            ("sip:host?a", 8),
            ("sip:host?a=1?b=2", 14),
            ("sip:host&a=1", 8),
            ("sip:a@b@c", 7),
            ("sip:host\r\nVia: x", 8),
        ):
            with self.subTest(text=text):
                error = self.assertRaises(ParseError, parse_uri, text)
                self.assertEqual((error.what, error.at), ("URI", at))

    def test_of_plain_text(self) -> None:
        """A user in plain text is escaped where it must be."""
        uri = SipUri.of("*90#", "pbx.example", 5060, (("user", "phone"),))
        self.assertEqual(str(uri), "sip:*90%23@pbx.example:5060;user=phone")
        self.assertEqual(str(SipUri.of("", "pbx.example")), "sip:pbx.example")
        self.assertEqual(parse_uri(str(SipUri.of("a b@c:d\r\n", "h"))), SipUri("h", "a%20b%40c%3Ad%0D%0A"))

    def test_parameters_added_and_removed(self) -> None:
        """What is there already is not added again, and can be taken out by name."""
        uri = SipUri("h", parameters=(("user", "phone"),))
        self.assertEqual(uri.with_parameters((("user", "ip"), ("lr", ""))).parameters, (("user", "phone"), ("lr", "")))
        self.assertIs(uri.with_parameters((("user", "ip"),)), uri)
        self.assertEqual(uri.without("user", "lr"), SipUri("h"))
        self.assertIsNone(uri.parameter("lr"))

    def test_long(self) -> None:
        """A URI too long to be kept is parsed all the same."""
        self.assertEqual(self.sip("sip:" + "a" * 5000 + "@h").user, "a" * 5000)


class OtherSchemeTests(SynchronousTestCase):
    """Telephone numbers (RFC 3966) and what we do not know."""

    def test_tel(self) -> None:
        """Number and parameters are found; the digits are without separators."""
        uri = parse_uri("tel:+1-(201)-555.0123;phone-context=example.com;ext")
        assert isinstance(uri, TelUri)
        self.assertEqual(uri.digits, "+12015550123")
        self.assertEqual((uri.parameter("phone-context"), uri.parameter("ext"), uri.parameter("isub")), ("example.com", "", None))
        self.assertEqual(str(uri), "tel:+1-(201)-555.0123;phone-context=example.com;ext")

    def test_tel_broken(self) -> None:
        """Separators alone are no number, and nothing may follow the parameters."""
        for text in ("tel:", "tel:-.()", "tel:+", "tel:xyz", "tel:123 456", "tel:123?a=b"):
            with self.subTest(text=text):
                self.assertRaises(ParseError, parse_uri, text)

    def test_unknown_scheme(self) -> None:
        """Any other scheme is kept as text (RFC 4475 §3.3.3, .4)."""
        self.assertEqual(parse_uri("ISBN:2983792873"), OtherUri("isbn", "2983792873"))
        self.assertEqual(str(parse_uri("soap.beep://192.0.2.103:3002")), "soap.beep://192.0.2.103:3002")

    def test_unknown_scheme_broken(self) -> None:
        """It has no blanks, quotes or brackets in it, and is not empty."""
        for text in ("isbn:", "isbn:1 2", 'isbn:"', "isbn:a>b"):
            with self.subTest(text=text):
                self.assertRaises(ParseError, parse_uri, text)


class NumberOfTests(SynchronousTestCase):
    """The number that is asked for."""

    def test_numbers(self) -> None:
        """Escapes are decoded, and telephone numbers lose parameters and separators."""
        for text, number in (
            ("sip:*90%23@pbx", "*90#"),
            ("sip:100@pbx", "100"),
            ("sip:pbx", ""),
            ("sip:+1-212-555-0101;phone-context=x@pbx", "+12125550101"),
            ("sip:0212-555;isub=1@pbx;user=phone", "0212555"),
            ("sip:100-1@pbx", "100-1"),
            ("sip:j.doe@pbx", "j.doe"),
            ("sip:user;par=u%40example.net@example.com", "user;par=u@example.net"),
            ("sip:+alice@pbx", "+alice"),
            ("tel:+1-212", "+1212"),
            ("isbn:1", ""),
        ):
            with self.subTest(text=text):
                self.assertEqual(number_of(parse_uri(text)), number)


class EquivalentTests(SynchronousTestCase):
    """RFC 3261 §19.1.4 and RFC 3966 §4, with the examples that stand there."""

    def check(self, a: str, b: str, same: bool) -> None:
        with self.subTest(a=a, b=b):
            self.assertEqual(equivalent(parse_uri(a), parse_uri(b)), same)
            self.assertEqual(equivalent(parse_uri(b), parse_uri(a)), same)

    def test_same(self) -> None:
        """Case of the host, escapes, order and extra parameters make no difference."""
        self.check("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True)
        self.check("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True)
        self.check("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True)
        self.check(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            True,
        )
        self.check(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", True
        )

    def test_different(self) -> None:
        """Case of the user, ports, telling parameters and headers do."""
        self.check("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False)
        self.check("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False)
        self.check("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False)
        self.check("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", False)
        self.check("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", False)
        self.check("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False)
        self.check("sip:a%3Bb@h", "sip:a;b@h", False)
        self.check("sip:a@h", "sips:a@h", False)
        self.check("sip:a:x@h", "sip:a@h", False)

    def test_tel(self) -> None:
        """Separators and the order of parameters make no difference, any parameter does."""
        self.check("tel:+1-212", "tel:+1212", True)
        self.check("tel:12;phone-context=A;isub=1", "tel:1-2;isub=1;phone-context=a", True)
        self.check("tel:12;phone-context=a", "tel:12", False)

    def test_others(self) -> None:
        """Different kinds are never the same; unknown ones are compared as text."""
        self.check("tel:12", "sip:12@h", False)
        self.check("isbn:1", "ISBN:1", True)
