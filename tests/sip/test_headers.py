"""Tests of `pbx.sip.headers` and `pbx.sip.errors`."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import grammar
from pbx.sip.errors import ParseError
from pbx.sip.headers import (
    STAR,
    CSeq,
    Item,
    NameAddr,
    RAck,
    Reason,
    Replaces,
    SessionExpires,
    Via,
    format_parameters,
    parse_addresses,
    parse_contacts,
    parse_cseq,
    parse_item,
    parse_name_addr,
    parse_number,
    parse_parameters,
    parse_rack,
    parse_reason,
    parse_replaces,
    parse_seconds,
    parse_session_expires,
    parse_via,
    quoted,
    split_list,
    tag_of,
    unquoted,
)
from pbx.sip.uri import SipUri


class Refusing(SynchronousTestCase):
    """Shared by the tests below."""

    def refused(self, parse: Callable[[str], object], *texts: str) -> None:
        for text in texts:
            with self.subTest(text=text):
                self.assertRaises(ParseError, parse, text)


class ErrorTests(SynchronousTestCase):
    """What a person reads when a message is broken."""

    def test_sentence(self) -> None:
        """It names the field, what was wanted, the place and the text."""
        error = self.assertRaises(ParseError, parse_cseq, "12INVITE")
        self.assertEqual(str(error), "CSeq: expected a space after the number at column 2 in '12INVITE'")

    def test_controls(self) -> None:
        """Terminal controls and line ends are escaped, and long text is cut."""
        sentence = str(ParseError("Via", "expected x", "\x1b[31m\r\n" + "a" * 200))
        self.assertIn(r"'\x1b[31m\r\naaa", sentence)
        self.assertLess(len(sentence), 140)
        self.assertTrue(sentence.isprintable())


class NameAddrTests(Refusing):
    """From, To, Contact and their like (RFC 3261 §20.10, §20.20, §20.39)."""

    def test_quoted_display(self) -> None:
        """Quotes and escapes are taken off the display name, and put on again."""
        value = parse_name_addr(r'"J Rosenberg \\\"" <sip:jdrosen@example.com> ; tag = 98asjd8')
        self.assertEqual(value, NameAddr('J Rosenberg \\"', SipUri("example.com", "jdrosen"), {"tag": "98asjd8"}))
        self.assertEqual(value.tag, "98asjd8")
        self.assertEqual(str(value), r'"J Rosenberg \\\"" <sip:jdrosen@example.com>;tag=98asjd8')

    def test_token_display(self) -> None:
        """Words need no quotes, and no blank before the bracket (RFC 4475 §3.1.1.6)."""
        self.assertEqual(parse_name_addr("caller<sip:caller@example.com>;tag=323").display, "caller")
        self.assertEqual(
            parse_name_addr("token1~` token2'+_ token3*%!.- <sip:mundane@example.com>").display, "token1~` token2'+_ token3*%!.-"
        )

    def test_without_brackets(self) -> None:
        """Without brackets, parameters are the header's (§20; RFC 4475 §3.3.12, .13)."""
        value = parse_name_addr("sip:+19725552222@gw1.example.net ;unknownparam;Tag=x")
        self.assertEqual(value.parameters, {"unknownparam": None, "tag": "x"})
        self.assertEqual(str(value), "<sip:+19725552222@gw1.example.net>;unknownparam;tag=x")
        self.assertEqual(parse_name_addr("<sip:a@h;unknownparam>").parameters, {})
        self.assertEqual(parse_name_addr("sip:a@h").tag, "")

    def test_controls_in_display(self) -> None:
        """Controls, which are legal there (RFC 4475 §3.1.1.2), do not reach screens and other messages."""
        self.assertEqual(parse_name_addr('"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:a@h>').display, "BEL: NUL: DEL:")
        self.assertEqual(str(NameAddr("a\r\nb", SipUri("h"))), '"ab" <sip:h>')

    def test_utf8(self) -> None:
        """Names in any script pass, with quotes or without."""
        self.assertEqual(parse_name_addr('"王伟" <sip:a@h>').display, "王伟")
        self.assertEqual(parse_name_addr("王伟 <sip:a@h>").display, "王伟")

    def test_odd_tag(self) -> None:
        """A tag outside the grammar goes back as it came; other such values are quoted."""
        value = parse_name_addr("<sip:a@h>;tag=1@2;x=1@2")
        self.assertEqual(str(value), '<sip:a@h>;tag=1@2;x="1@2"')
        self.assertEqual(parse_name_addr(str(value)), value)

    def test_broken(self) -> None:
        """RFC 4475 §3.1.2.6, .13 to .15: open quotes, blanks in brackets, bare commas, headers without brackets."""
        self.refused(
            parse_name_addr,
            "",
            '"Mr. J. User <sip:j.user@example.com>',
            '"Watson, Thomas" < sip:t.watson@example.org >',
            "Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "sip:a,b@h",
            '"Joe" <sip:joe@example.org>;;;;',
            "<sip:a@h> x",
            "<sip:a@h>;tag=1;tag=2",
            "<sip:a@h>;x=",
            '<sip:a@h>;x="',
            "<>",
            '"a" b <sip:a@h>',
        )

    def test_contacts(self) -> None:
        """Several lines and lists are one list; a star stands alone (§10.2.2)."""
        contacts = parse_contacts(["<sip:a@h>;q=0.5, sip:b@h;expires=60", '"x, y" <sip:c@h>'])
        assert contacts is not STAR
        self.assertEqual([str(contact.uri) for contact in contacts], ["sip:a@h", "sip:b@h", "sip:c@h"])
        self.assertIs(parse_contacts(["*"]), STAR)
        self.assertEqual(parse_contacts([]), [])
        for values in (["*", "<sip:a@h>"], ["<sip:a@h>, *"], ["*;expires=0"]):
            with self.subTest(values=values):
                self.assertRaises(ParseError, parse_contacts, values)

    def test_addresses(self) -> None:
        """Route lists keep their order."""
        self.assertEqual(
            [str(route) for route in parse_addresses(["<sip:a;lr>,<sip:b>", "<sip:c>"], "Route")], ["<sip:a;lr>", "<sip:b>", "<sip:c>"]
        )


class TagOfTests(SynchronousTestCase):
    """The short way to a tag."""

    def test_tags(self) -> None:
        """It finds what the whole parse finds."""
        for text in (
            "<sip:a@h>;tag=1",
            "<sip:a;tag=no@h>",
            "<sip:a@h;tag=no>;x=2;TAG = 3 ;y",
            "sip:a@h;tag=4",
            "sip:a@h",
            '"<sip:x>;tag=no" <sip:a@h>;tag=5',
            '<sip:a@h>;x=">;tag=no";tag=6',
            '<sip:a@h>;x=";tag=no"',
            "<sip:a@h>;mytag=7",
            "<sip:a@h>;tag=a@b",
        ):
            with self.subTest(text=text):
                self.assertEqual(tag_of(text), parse_name_addr(text).tag)


class ViaTests(Refusing):
    """Via (RFC 3261 §20.42)."""

    def test_usual(self) -> None:
        """All parts are found, and the text is the same again."""
        text = "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK-32"
        via = parse_via(text)
        self.assertEqual(via, Via("UDP", "192.0.2.1", 5060, {"rport": None, "branch": "z9hG4bK-32"}))
        self.assertEqual((via.branch, via.sent_by, via.received, via.rport), ("z9hG4bK-32", "192.0.2.1:5060", "", 0))
        self.assertEqual(str(via), text)

    def test_blanks(self) -> None:
        """Blanks may stand around the slashes, the colon, and the equals signs (RFC 4475 §3.1.1.1)."""
        via = parse_via("SIP  / 2.0  / tcp     spindle.example.com : 5070  ;  branch  =   z9hG4bK9ikj8  ")
        self.assertEqual(via, Via("TCP", "spindle.example.com", 5070, {"branch": "z9hG4bK9ikj8"}))

    def test_received(self) -> None:
        """IPv6 in ``received`` may have brackets or not (RFC 5118 §4.5)."""
        for text in ("2001:db8::9:255", "[2001:db8::9:255]"):
            via = parse_via(f"SIP/2.0/UDP [2001:db8::9:1];received={text};branch=z9hG4bKas3")
            self.assertEqual((via.received, via.host), ("2001:db8::9:255", "[2001:db8::9:1]"))

    def test_rport(self) -> None:
        """A port that is none counts as one that is asked for (RFC 3581 §4)."""
        for text, rport in ((";rport=5070", 5070), (";rport=x", 0), (";rport=99999", 0), (";rport=123456", 0), (";rport", 0), ("", None)):
            with self.subTest(text=text):
                self.assertEqual(parse_via("SIP/2.0/UDP h" + text).rport, rport)

    def test_unknown_transport(self) -> None:
        """Any transport is read (RFC 4475 §3.1.1.10)."""
        self.assertEqual(parse_via("SIP/2.0/UNKNOWN t4.example.com;branch=1").transport, "UNKNOWN")

    def test_broken(self) -> None:
        """Empty parameters (RFC 4475 §3.1.2.1), other versions (§3.1.2.16), ports and hosts that are none."""
        self.refused(
            parse_via,
            "",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP h",
            "SIP/2.0/UDP h:65536",
            "SIP/2.0/UDP h:123456",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP [x",
            "SIP/2.0/UDP h;branch=1;branch=2",
        )


class PlainTests(SynchronousTestCase):
    """What the gate lets through without a parse would parse: the short cuts say less than the grammar, never more."""

    VIAS = (
        ("h;branch=z1", True),
        ("h.example:5060;branch=z1;rport", True),
        ("192.0.2.1:65535;rport;branch=z1", True),
        ("192.0.2.1:40000;rport=40000;branch=z1;received=192.0.2.9", True),
        ("h;branch=z1;rport=5060;received=2001:db8::1", True),
        ("h;branch=z1;received=192.0.2.9;rport=5060", True),
        ("h:65536;branch=z1", False),
        ("h:100000;branch=z1", False),
        ("h;rport;branch=z1;rport", False),
        ("h;branch=z1;rport;rport=5060", False),
        ("h;rport;branch=z1;received=192.0.2.9;rport", False),
        ("h;branch=z1;received=192.0.2.9;received=192.0.2.9", False),
        ("h;rport;received=192.0.2.9", False),
    )

    def test_vias(self) -> None:
        """A port up to 65535, and rport and received once at most, before the branch or after it."""
        for text, plain in self.VIAS:
            line = f"SIP/2.0/UDP {text}"
            found = grammar.PLAIN_VIA.fullmatch(line)
            self.assertEqual(found is not None, plain, text)
            if found is not None:
                via = parse_via(line)
                received = found[7] and found[7].partition("=")[2]
                self.assertEqual((found[1], found[4], received or ""), (via.host, via.branch, via.received))
                self.assertEqual(bool(found[2] or found[5] or found[8]), via.rport is not None)

    def test_ports(self) -> None:
        """An address with a port above 65535 is not waved through."""
        for port in (0, 1, 5060, 10000, 59999, 60000, 64999, 65000, 65499, 65500, 65529, 65530, 65535, 65536, 65540, 66000, 505060):
            plain = grammar.PLAIN_ADDRESS.fullmatch(f"<sip:100@h:{port}>") is not None
            self.assertEqual(plain, port <= 65535, port)


class CSeqTests(Refusing):
    """CSeq and RAck (RFC 3261 §20.16, RFC 3262 §7.2)."""

    def test_usual(self) -> None:
        """Number and method, however many blanks and zeros."""
        self.assertEqual(parse_cseq("0009   INVITE"), CSeq(9, "INVITE"))
        self.assertEqual(str(parse_cseq("2147483647 invite")), "2147483647 invite")

    def test_broken(self) -> None:
        """Numbers of 2**31 or more, and what only Python takes for a number, are refused (§8.1.1.5)."""
        self.refused(
            parse_cseq,
            "",
            "INVITE",
            "1",
            "1 ",
            "1 a b",
            "1 a/b",
            "-1 A",
            "+1 A",
            "1_0 A",
            "٣ A",
            "2147483648 A",
            "36893488147419103232 REGISTER",
        )

    def test_rack(self) -> None:
        """Three parts."""
        self.assertEqual(parse_rack("776656 1 INVITE"), RAck(776656, 1, "INVITE"))
        self.assertEqual(str(parse_rack("776656 1 INVITE")), "776656 1 INVITE")
        self.refused(parse_rack, "", "1", "1 INVITE", "x 1 INVITE", "99999999999 1 INVITE")


class OtherValueTests(Refusing):
    """The smaller headers."""

    def test_reason(self) -> None:
        """RFC 3326 §2."""
        reason = parse_reason('SIP ;cause=200 ;text="Call completed elsewhere"')
        self.assertEqual(reason, Reason("SIP", 200, "Call completed elsewhere"))
        self.assertEqual(str(reason), 'SIP;cause=200;text="Call completed elsewhere"')
        self.assertEqual(str(parse_reason("q.850")), "Q.850")
        self.refused(parse_reason, "", "SIP;cause=x", "a b", ";cause=1")

    def test_session_expires(self) -> None:
        """RFC 4028 §4."""
        self.assertEqual(parse_session_expires("1800 ;Refresher=UAC"), SessionExpires(1800, "uac"))
        self.assertEqual(str(SessionExpires(1800, "uas")), "1800;refresher=uas")
        self.assertEqual(str(parse_session_expires("90;x=y")), "90")
        self.refused(parse_session_expires, "", "x", "90;refresher=me", "-1")

    def test_replaces(self) -> None:
        """RFC 3891 §6.1; the Call-ID may contain nearly everything."""
        replaces = parse_replaces("98732@sip.example.com ;from-tag=r33th4x0r ;to-tag=ff87ff;early-only")
        self.assertEqual(replaces, Replaces("98732@sip.example.com", "ff87ff", "r33th4x0r", True))
        self.assertEqual(str(replaces), "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only")
        self.assertEqual(parse_replaces(str(Replaces("a", "b", "c"))), Replaces("a", "b", "c"))
        self.refused(parse_replaces, "", "a;to-tag=1", "a;from-tag=1", ";to-tag=1;from-tag=2", "a b;to-tag=1;from-tag=2")

    def test_item(self) -> None:
        """A token or a media type with parameters."""
        self.assertEqual(parse_item("refer;id=93809824"), Item("refer", {"id": "93809824"}))
        self.assertEqual(parse_item('Multipart / Mixed ;boundary="a b"'), Item("multipart/mixed", {"boundary": "a b"}))
        self.assertEqual(str(Item("multipart/mixed", {"boundary": "a b"})), 'multipart/mixed;boundary="a b"')
        self.refused(parse_item, "", "a b", "a/", "/b", "a/b/c", "a;")

    def test_numbers(self) -> None:
        """Digits only, and never more than the cap."""
        self.assertEqual(parse_number("0070", "x"), 70)
        for text in ("", "-999", "+1", "1_0", "٣", " 1", "4294967296", "12345678901"):
            with self.subTest(text=text):
                self.assertRaises(ParseError, parse_number, text, "x")
        self.assertRaises(ParseError, parse_number, "256", "x", 255)

    def test_seconds(self) -> None:
        """However many digits: what is too much counts as the most there is (RFC 4475 §3.1.2.4)."""
        self.assertEqual(parse_seconds("3600"), 3600)
        self.assertEqual(parse_seconds("4294967296"), 2**32 - 1)
        self.assertEqual(parse_seconds("1" + "0" * 9000), 2**32 - 1)
        self.assertEqual(parse_seconds("0" * 9000 + "60"), 60)
        self.assertEqual(parse_seconds("0" * 9000), 0)
        self.refused(parse_seconds, "", "-1", "1.5", "٣", "1 ")

    def test_parameters(self) -> None:
        """Values keep their case, names do not; quotes go and come."""
        parameters = parse_parameters(' ; LR;Name="a\\"b" ; +sip.instance="<urn:uuid:1>";x=[::1]')
        self.assertEqual(parameters, {"lr": None, "name": 'a"b', "+sip.instance": "<urn:uuid:1>", "x": "[::1]"})
        self.assertEqual(format_parameters(parameters), ';lr;name="a\\"b";+sip.instance="<urn:uuid:1>";x=[::1]')
        self.assertEqual(parse_parameters(';a=""'), {"a": ""})
        self.assertEqual(format_parameters({"a": "", "tag": ""}), ';a="";tag=""')
        self.assertEqual(unquoted(quoted('\\"')), '\\"')


class SplitListTests(SynchronousTestCase):
    """Lists by commas (RFC 3261 §7.3.1)."""

    def test_splits(self) -> None:
        """Commas in quotes and brackets separate nothing; empty elements do not count."""
        for text, parts in (
            ("", []),
            (" a ", ["a"]),
            ("a, b ,,c", ["a", "b", "c"]),
            ('"a, \\" b" <sip:x>, c', ['"a, \\" b" <sip:x>', "c"]),
            ("<sip:a,b@h>,<sip:c>", ["<sip:a,b@h>", "<sip:c>"]),
            ('a,"b,c', ["a", '"b,c']),
            ('a,"b,c\\', ["a", '"b,c\\']),
            ("a,<b,c", ["a", "<b,c"]),
        ):
            with self.subTest(text=text):
                self.assertEqual(split_list(text), parts)

    def test_linear(self) -> None:
        """No text takes long: 64 kB of the worst in well under a second each."""
        for text in (
            '"\\' * 32000,
            ',"' * 32000,
            ",<" * 32000,
            '"' * 63999 + ",",
            "; " * 32000,
            "a=" * 32000,
            " " * 64000 + "x",
            ";a" * 32000,
        ):
            started = time.process_time()
            split_list(text)
            for parse in (parse_name_addr, parse_via, parse_parameters, tag_of, parse_item):
                try:
                    parse(text)
                except ParseError:
                    continue
            self.assertLess(time.process_time() - started, 1.0, text[:10])
