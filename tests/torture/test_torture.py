"""
The torture messages of RFC 4475 and RFC 5118 through the codec and the gate: what is valid is read right, what is not gets the
response that the RFC suggests, and nothing but `ParseError` ever comes out.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pbx.sip.errors import ParseError
from pbx.sip.gate import check_request, check_response
from pbx.sip.headers import STAR, NameAddr
from pbx.sip.message import Request, Response, parse_message
from pbx.sip.uri import OtherUri, SipUri, equivalent
from tests.torture import rfc4475, rfc5118
from tests.torture.message import Fate, Torture

ALL = rfc4475.MESSAGES + rfc5118.MESSAGES
ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "torture"

ACCEPTED = "accepted"
DISCARDED = "discarded"


def outcome(message: Torture) -> int | str:
    """The status that the message is refused with, or `ACCEPTED`, or `DISCARDED`."""
    is_response = message.data.startswith(b"SIP/")
    try:
        parsed = parse_message(message.data)
        if isinstance(parsed, Response):
            return ACCEPTED if check_response(parsed) else DISCARDED
        fault = check_request(parsed)
    except ParseError:
        return DISCARDED if is_response else 400
    return ACCEPTED if fault is None else fault.status


def request(name: str) -> Request:
    """The request of that name, parsed and through the gate."""
    message = rfc4475.BY_NAME.get(name) or rfc5118.BY_NAME[name]
    parsed = parse_message(message.data)
    assert isinstance(parsed, Request), name
    fault = check_request(parsed)
    assert fault is None, f"{name}: {fault}"
    return parsed


def response(name: str) -> Response:
    """The response of that name, parsed."""
    parsed = parse_message(rfc4475.BY_NAME[name].data)
    assert isinstance(parsed, Response), name
    return parsed


def sip(uri: object) -> SipUri:
    assert isinstance(uri, SipUri), uri
    return uri


def contacts(of: Request) -> list[NameAddr]:
    found = of.contacts
    assert found is not STAR
    return found


class OctetTests(SynchronousTestCase):
    """Our messages are those of the RFCs."""

    def test_number(self) -> None:
        """RFC 4475 has 49 messages and RFC 5118 has 12, each with a name of its own."""
        self.assertEqual((len(rfc4475.BY_NAME), len(rfc5118.BY_NAME)), (49, 12))

    def test_archive(self) -> None:
        """They agree octet for octet with the archive of appendix A, where a copy of it lies beside the project."""
        if not ARCHIVE.is_dir():
            raise SkipTest(f"no archive in {ARCHIVE}")
        for folder, messages in (("rfc4475", rfc4475.MESSAGES), ("rfc5118", rfc5118.MESSAGES)):
            files = {path.stem: path.read_bytes() for path in (ARCHIVE / folder).glob("*.dat")}
            self.assertEqual({message.name: message.data for message in messages}, files)


class FateTests(SynchronousTestCase):
    """Each message meets the end that its RFC wants."""

    def test_accepted(self) -> None:
        """Valid messages pass the gate, however odd."""
        valid = [message for message in ALL if message.fate is Fate.ACCEPTED]
        self.assertEqual({message.name: outcome(message) for message in valid}, {message.name: ACCEPTED for message in valid})

    def test_refused(self) -> None:
        """Invalid requests are refused with the status that the RFC suggests."""
        for message in ALL:
            if message.fate is Fate.REFUSED:
                self.assertIn(outcome(message), message.statuses, f"{message.name}: {message.wanted}")

    def test_tolerated(self) -> None:
        """Where the RFC leaves it open, the request is refused with the status suggested, or accepted."""
        for message in ALL:
            if message.fate is Fate.TOLERATED:
                self.assertIn(outcome(message), (*message.statuses, ACCEPTED), f"{message.name}: {message.wanted}")

    def test_our_choice(self) -> None:
        """Of what may be tolerated only a Date in another zone is let through: nothing here depends on it."""
        let_through = [message.name for message in ALL if message.fate is Fate.TOLERATED and outcome(message) == ACCEPTED]
        self.assertEqual(let_through, ["baddate"])

    def test_discarded(self) -> None:
        """Responses with scalars out of range are dropped; a second Via is for the transaction layer to see (see test_answers)."""
        bad = [message for message in ALL if message.fate is Fate.DISCARDED and message.name != "bcast"]
        self.assertEqual({message.name: outcome(message) for message in bad}, {message.name: DISCARDED for message in bad})

    def test_cut_short(self) -> None:
        """Every message cut off at any octet is parsed or refused with `ParseError`, never anything else."""
        for message in ALL:
            for end in range(len(message.data)):
                outcome(Torture(message.name, message.section, message.data[:end], message.fate, ""))


class ValidSyntaxTests(SynchronousTestCase):
    """RFC 4475 §3.1.1: what the valid messages say."""

    def test_wsinv_start(self) -> None:
        """§3.1.1.1: the Request-URI keeps a parameter that nobody knows."""
        uri = sip(request("wsinv").uri)
        self.assertEqual((uri.user, uri.host, uri.parameter("unknownparam")), ("vivekg", "chair-dnrc.example.com", ""))

    def test_wsinv_addresses(self) -> None:
        """§3.1.1.1: tags are found behind folds and blanks, an escaped quote does not end a display name."""
        message = request("wsinv")
        self.assertEqual((message.to_tag, message.from_tag), ("1918181833n", "98asjd8"))
        self.assertEqual(sip(message.to.uri).user, "vivekg")
        self.assertEqual(sip(message.from_.uri).user, "jdrosen")
        self.assertTrue(message.from_.display.startswith("J Rosenberg"), message.from_.display)

    def test_wsinv_numbers(self) -> None:
        """§3.1.1.1: leading zeros are no octal numbers."""
        message = request("wsinv")
        self.assertEqual((message.cseq.number, message.cseq.method, message.first("max-forwards")), (9, "INVITE", "0068"))

    def test_wsinv_vias(self) -> None:
        """§3.1.1.1: three Vias on two lines, the compact form and blanks around every sign."""
        vias = request("wsinv").vias
        self.assertEqual([via.transport.upper() for via in vias], ["UDP", "TCP", "UDP"])
        self.assertEqual([via.host for via in vias], ["192.0.2.2", "spindle.example.com", "192.168.255.111"])
        self.assertEqual([via.branch for via in vias], ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"])

    def test_wsinv_others(self) -> None:
        """§3.1.1.1: Subject is empty, a fold is one blank, nonsense in an unknown header does no harm."""
        message = request("wsinv")
        self.assertEqual(message.first("subject"), "")
        self.assertEqual(message.first("newfangledheader"), "newfangled value continued newfangled value")
        self.assertEqual(message.first("unknownheaderwithunusualvalue"), ";;,,;;,;")
        contact = message.contact
        assert contact is not None
        self.assertEqual((contact.parameters["newparam"], contact.parameters["q"]), ("newvalue", "0.33"))
        self.assertIn("secondparam", contact.parameters)
        self.assertEqual(len(message.body), 150)

    def test_intmeth(self) -> None:
        """§3.1.1.2: all characters of a token in a method, of a user part, and of a tag."""
        message = request("intmeth")
        self.assertEqual(message.method, "!interesting-Method0123456789_*+`.%indeed'~")
        self.assertEqual(message.cseq.method, message.method)
        self.assertEqual(sip(message.uri).user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
        self.assertEqual(sip(message.uri).host, "example.com")
        self.assertEqual(message.from_tag, "_token~1'+`*%!-.")
        self.assertEqual(sip(message.to.uri).host, "example.com")
        self.assertEqual(message.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")

    def test_esc01(self) -> None:
        """§3.1.1.3: escaped signs do not change what kind of URI it is."""
        message = request("esc01")
        uri = sip(message.uri)
        self.assertEqual((uri.scheme, uri.decoded_user, uri.host), ("sip", "sips:user@example.com", "example.net"))
        self.assertEqual(sip(message.to.uri).decoded_user, "user")
        self.assertEqual(sip(message.from_.uri).decoded_user, "I have spaces")
        contact = message.contact
        assert contact is not None
        self.assertEqual(sip(contact.uri).decoded_user, "caller")

    def test_escnull(self) -> None:
        """§3.1.1.4: one NUL and two NULs are two contacts."""
        message = request("escnull")
        one, two = (contact.uri for contact in contacts(message))
        self.assertEqual((sip(one).decoded_user, sip(two).decoded_user), ("\0", "\0\0"))
        self.assertFalse(equivalent(one, two))
        self.assertEqual(sip(message.to.uri).user, "null-%00-null")

    def test_esc02(self) -> None:
        """§3.1.1.5: no escapes in methods, header names and display names."""
        message = request("esc02")
        self.assertEqual((message.method, message.cseq.method), ("RE%47IST%45R", "RE%47IST%45R"))
        self.assertEqual([sip(contact.uri).user for contact in contacts(message)], ["alias1", "alias3"])
        self.assertEqual(message.to.display, "%Z%45")
        self.assertEqual(message.via.branch, "z9hG4bK209%fzsnel234")

    def test_lwsdisp(self) -> None:
        """§3.1.1.6: the display name ends at the bracket."""
        message = request("lwsdisp")
        self.assertEqual((message.from_.display, sip(message.from_.uri).user), ("caller", "caller"))

    def test_longreq(self) -> None:
        """§3.1.1.7: 34 Vias in their order, the longest values whole."""
        message = request("longreq")
        self.assertEqual([via.host for via in message.vias[:2]], ["sip33.example.com", "sip32.example.com"])
        self.assertEqual((len(message.vias), message.vias[-1].received), (34, "192.0.2.5"))
        self.assertEqual(len(message.from_tag), 2 + 50 * 3 + 3)
        self.assertEqual(sip(message.to.uri).parameter("unknownparam1"), "very" + "long" * 20 + "value")
        self.assertEqual((sip(message.to.uri).port, len(message.body)), (6000, 150))

    def test_dblreq(self) -> None:
        """§3.1.1.8: the REGISTER alone is read; it has no body."""
        message = request("dblreq")
        self.assertEqual((message.method, message.call_id, message.body), ("REGISTER", "dblreq.0ha0isndaksdj99sdfafnl3lk233412", b""))

    def test_semiuri(self) -> None:
        """§3.1.1.9: the semicolon belongs to the user part."""
        message = request("semiuri")
        self.assertEqual((sip(message.uri).decoded_user, sip(message.uri).parameters), ("user;par=u@example.net", ()))
        self.assertEqual(len(message.all("accept")), 6)

    def test_transports(self) -> None:
        """§3.1.1.10: five transports are read, known or not."""
        self.assertEqual([via.transport for via in request("transports").vias], ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"])

    def test_mpart01(self) -> None:
        """§3.1.1.11: the binary part neither ends the body nor breaks the parser."""
        message = request("mpart01")
        self.assertEqual((message.content_type, len(message.body), message.sdp), ("multipart/mixed", 553, None))

    def test_unreason(self) -> None:
        """§3.1.1.12: the reason phrase comes out as it went in."""
        message = response("unreason")
        self.assertEqual((message.status, len(message.body)), (200, 154))
        self.assertTrue(message.reason.startswith("= 2**3 * 5**2 "), message.reason)
        self.assertTrue(message.reason.endswith("\u043f\u0440\u043e\u0441\u0442\u043e\u0435"), message.reason)

    def test_noreason(self) -> None:
        """§3.1.1.13: no reason phrase is an empty one."""
        message = response("noreason")
        self.assertEqual((message.status, message.reason), (100, ""))


class ApplicationTests(SynchronousTestCase):
    """RFC 4475 §3.3 and §3.4: what the layers above need to read."""

    def test_unksm2(self) -> None:
        """§3.3.4: URIs of other schemes are kept as they are."""
        message = request("unksm2")
        contact = message.contact
        assert contact is not None
        self.assertEqual([type(uri) for uri in (message.to.uri, message.from_.uri, contact.uri)], [OtherUri] * 3)
        self.assertEqual(str(message.to.uri), "isbn:2983792873")

    def test_bext01(self) -> None:
        """§3.3.5: both options of Require are seen, those of Proxy-Require apart."""
        message = request("bext01")
        self.assertEqual(message.all("require"), ["nothingSupportsThis", "nothingSupportsThisEither"])
        self.assertFalse(message.lists("require", "noProxiesSupportThis"))

    def test_invut(self) -> None:
        """§3.3.6: the body is there and is no SDP."""
        message = request("invut")
        self.assertEqual((message.content_type, message.sdp, len(message.body)), ("application/unknownformat", None, 40))

    def test_cparam(self) -> None:
        """§3.3.12, §3.3.13: the brackets decide whose parameter it is."""
        bare, bracketed = request("cparam01").contact, request("cparam02").contact
        assert bare is not None and bracketed is not None
        self.assertEqual((dict(bare.parameters).keys(), sip(bare.uri).parameters), ({"unknownparam": None}.keys(), ()))
        self.assertEqual((bracketed.parameters, sip(bracketed.uri).parameter("unknownparam")), ({}, ""))

    def test_regescrt(self) -> None:
        """§3.3.14: header fields of a Contact's URI are kept with it."""
        contact = request("regescrt").contact
        assert contact is not None
        self.assertIn("?Route=%3Csip:sip.example.com%3E", str(contact.uri))

    def test_sdp01(self) -> None:
        """§3.3.15: the offer is found, and so is what the caller accepts."""
        message = request("sdp01")
        self.assertEqual((message.all("accept"), (message.sdp or "")[:5]), (["text/nobodyKnowsThis"], "v=0\r\n"))

    def test_inv2543(self) -> None:
        """§3.4.1: an older peer's request: no branch, no tag, and the body is all that is there."""
        message = request("inv2543")
        self.assertFalse(message.via.branch)
        self.assertEqual((message.from_tag, message.content_type, len(message.body)), ("", "application/sdp", 105))
        self.assertEqual(sip(message.record_routes[0].uri).parameter("maddr"), "ss1.example.com")


class Ipv6Tests(SynchronousTestCase):
    """RFC 5118: what the messages with IPv6 addresses say."""

    def test_good(self) -> None:
        """§4.1: brackets belong to the host."""
        message = request("ipv6-good")
        self.assertEqual((sip(message.uri).host, message.via.host), ("[2001:db8::10]", "[2001:db8::9:1]"))

    def test_ports(self) -> None:
        """§4.3, §4.4: a port stands behind the bracket only."""
        inside, outside = sip(request("port-ambiguous").uri), sip(request("port-unambiguous").uri)
        self.assertEqual((inside.address, outside.address), (("2001:db8::10:5070", None), ("2001:db8::10", 5070)))

    def test_received(self) -> None:
        """§4.5: both spellings of received name the same address."""
        for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
            self.assertEqual((request(name).via.received or "").strip("[]"), "2001:db8::9:255")

    def test_sdp(self) -> None:
        """§4.6, §4.8: the whole body reaches whoever parses SDP."""
        self.assertIn("c=IN IP6 2001:db8::20\r\n", request("ipv6-in-sdp").sdp or "")
        self.assertIn("c=IN IP4 192.0.2.1\r\nm=video", request("mult-ip-in-sdp").sdp or "")

    def test_vias(self) -> None:
        """§4.7: both families in one message."""
        vias = request("mult-ip-in-header").vias
        self.assertEqual([via.host for via in vias], ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:255]"])
        self.assertEqual([via.port for via in vias], [6050, None, None])
        self.assertEqual(vias[2].received, "192.0.2.200")

    def test_mapped(self) -> None:
        """§4.9: an IPv4-mapped address is an address."""
        contact = request("ipv4-mapped-ipv6").contact
        assert contact is not None
        self.assertEqual((sip(contact.uri).host, contact.display), ("[::ffff:192.0.2.2]", "T. desk phone"))

    def test_colons(self) -> None:
        """§4.10: the slip of RFC 3261's grammar is tolerated."""
        for name in ("ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"):
            self.assertEqual(sip(request(name).uri).user, "user")
