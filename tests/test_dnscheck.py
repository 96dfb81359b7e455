"""The check of DNS (docs/dns.md): what it finds, what it says, and the command line."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.dnscheck import CheckError, DnsCheck, check_dns, references_of, wanted
from pbx.net.options_probe import Probed, probe
from pbx.testing.dns import DnsHost, DnsServer, Manner, Table
from pbx.testing.network import Network
from pbx.testing.time import run_until

TRUE: Table = {
    "sip.example": ["300 A 9.9.9.1", "300 A 9.9.9.2"],
    "_sip._udp.srv.example": ["60 SRV 10 0 5080 one.srv.example"],
    "one.srv.example": ["60 A 9.9.9.3"],
    "inside.lan": ["60 A 192.168.1.5"],
    "www.example": ["60 CNAME sip.example"],
}
SYSTEM, FIRST, SECOND = ("192.0.2.53", 53), ("203.0.113.1", 53), ("203.0.113.2", 53)


class CheckCase(SynchronousTestCase):
    """A system's resolver and two references, in memory."""

    language = "en"

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.01)
        self.system, self.first, self.second = (self.server(*place) for place in (SYSTEM, FIRST, SECOND))
        self.probed: list[tuple[str, int, bool]] = []
        self.speaking = {"9.9.9.1", "9.9.9.3"}

    def server(self, address: str, port: int) -> DnsServer:
        server = DnsServer(DnsHost(self.network, address), TRUE, port=port)
        server.start()
        return server

    def probing(self, clock: Any, address: str, port: int, of_system: bool, timeout: float) -> Deferred[Probed]:
        self.probed.append((address, port, of_system))
        done: Deferred[Probed] = Deferred()
        speaks = address in self.speaking
        done.callback(Probed(address, port, of_system, "200 OK" if speaks else "silent for 3 s", speaks))
        return done

    def attempt(self, name: str, **more: Any) -> Any:
        """The result, or a failure."""
        done: list[Any] = []
        more = {"language": self.language, "probing": self.probing, "choose": lambda below: 5 % below, **more}
        host = DnsHost(self.network, "192.0.2.9")
        Deferred.fromCoroutine(check_dns(name, [SYSTEM], [FIRST, SECOND], reactor=host, **more)).addBoth(done.append)
        run_until(self.clock, lambda: done, 20.0)
        return done[0]

    def check(self, name: str = "sip.example", **more: Any) -> DnsCheck:
        result = self.attempt(name, **more)
        if isinstance(result, Failure):
            result.raiseException()
        json.dumps(result.json())
        self.assertIsInstance(result, DnsCheck)
        found: DnsCheck = result
        self.assertIn(f"{found.name}: {found.verdict}\n{found.sentence}", found.text())
        return found


class VerdictTests(CheckCase):
    """What is compared, and what comes out."""

    def test_same(self) -> None:
        """All say the same: sets are compared, not orders; each kind is asked of each resolver."""
        self.first.set("sip.example", "20 A 9.9.9.2", "10 A 9.9.9.1")
        found = self.check("Sip.Example.")
        self.assertEqual((found.verdict, found.differences), ("same", ()))
        self.assertIn("DNS is not what is wrong", found.sentence)
        kinds = ["A", "AAAA", "NAPTR", "SRV", "SRV", "SRV"]
        for server in (self.system, self.first, self.second):
            self.assertEqual(sorted(kind for _, kind in server.asked), kinds)
        (first,) = [one for one in found.answers if one.resolver == FIRST and one.kind == "A"]
        self.assertEqual((first.values, first.ttl, first.milliseconds, first.state), (("9.9.9.1", "9.9.9.2"), 10, 20.0, "found"))

    def test_differs(self) -> None:
        """The local resolver lies: it says so, which address speaks SIP, and what to do."""
        self.system.lies = ["9.9.9.66"]
        found = self.check()
        self.assertEqual((found.verdict, found.differences), ("differs", ("A sip.example",)))
        self.assertEqual(self.probed, [("9.9.9.66", 5060, True), ("9.9.9.1", 5060, False), ("9.9.9.2", 5060, False)])
        self.assertEqual(
            found.sentence,
            "The system's resolver (192.0.2.53) does not say what 203.0.113.1 and 203.0.113.2 say about A sip.example. "
            "9.9.9.1 (from the references) answers SIP. 9.9.9.66 (from the system's resolver) does not. "
            "9.9.9.2 (from the references) does not. "
            'Put a resolver that you trust into the configuration, [dns] servers = ["203.0.113.1"], give the phones the same one '
            "(by DHCP or in their settings), and tell who runs 192.0.2.53.",
        )

    def test_nobody_speaks(self) -> None:
        """None of the addresses speaks SIP: that is said."""
        self.system.lies, self.speaking = ["9.9.9.66"], set()
        self.assertIn("None of the addresses answers SIP over UDP.", self.check().sentence)

    def test_service(self) -> None:
        """The addresses of SRV targets are compared too, and probed at the port of the record."""
        self.system.lies = ["9.9.9.66"]
        found = self.check("srv.example")
        self.assertEqual(found.differences, ("A one.srv.example",))
        self.assertEqual(self.probed, [("9.9.9.66", 5080, True), ("9.9.9.3", 5080, False)])

    def test_name_is_denied(self) -> None:
        """The local resolver denies a name that others know."""
        self.system.manner = Manner.NXDOMAIN
        found = self.check()
        self.assertEqual(found.verdict, "differs")
        self.assertIn("NXDOMAIN", found.text())

    def test_one_kind_not_answered(self) -> None:
        """It fails where others have an answer: a difference. It fails where they have none: nothing is lost."""
        self.system.manners = {"A": Manner.SERVFAIL}
        self.assertEqual(self.check().differences, ("A sip.example",))
        self.system.manners = {"NAPTR": Manner.SILENT}
        self.assertEqual(self.check().verdict, "same")

    def test_one_reference_agrees(self) -> None:
        """References that differ among themselves: one that agrees is enough."""
        self.first.lies = ["9.9.9.77"]
        self.assertEqual(self.check().verdict, "same")

    def test_blocked(self) -> None:
        """No reference answers: nothing can be compared."""
        self.first.manner, self.second.manner = Manner.SILENT, Manner.REFUSED
        found = self.check()
        self.assertEqual(found.verdict, "blocked")
        self.assertIn("a firewall blocks DNS", found.sentence)
        self.assertEqual({one.state for one in found.answers}, {"found", "none", "NXDOMAIN", "timeout", "REFUSED"})

    def test_unreachable(self) -> None:
        """The system's resolver does not answer, and others do."""
        self.system.manner = Manner.SILENT
        found = self.check()
        self.assertEqual(found.verdict, "unreachable")
        self.assertIn('does not answer (timeout), and 203.0.113.1 does: [dns] servers = ["203.0.113.1"]', found.sentence)
        self.assertLess(self.clock.seconds(), 6.1)

    def test_no_way_out(self) -> None:
        """Nobody answers at all."""
        self.system.manner = self.first.manner = self.second.manner = Manner.SERVFAIL
        found = self.check()
        self.assertEqual(found.verdict, "unreachable")
        self.assertIn("(SERVFAIL), nor does any other: this host has no way to DNS", found.sentence)

    def test_nothing_there(self) -> None:
        """All agree that there is no such name: a slip, most likely."""
        found = self.check("slip.example")
        self.assertEqual(found.verdict, "same")
        self.assertIn("nothing under this name", found.sentence)

    def test_near(self) -> None:
        """A private address for a public name is flagged; for a name of the house it is as it should be."""
        for server in (self.system, self.first, self.second):
            server.lies = ["192.168.0.9"]
        found = self.check()
        self.assertEqual(found.verdict, "same")
        self.assertIn("(192.168.0.9) for a public name", found.sentence)
        self.assertIn("private!", found.text())
        self.assertNotIn("for a public name", self.check("inside.lan").sentence)

    def test_hosts(self) -> None:
        """What the hosts file says is told, as it goes before everything."""
        self.assertIn("The hosts file of this system has 127.0.0.9", self.check(hosts=["127.0.0.9"]).sentence)

    def test_alias(self) -> None:
        """Addresses behind an alias are those of the name."""
        self.assertEqual({one.values for one in self.check("www.example").answers if one.kind == "A"}, {("9.9.9.1", "9.9.9.2")})

    def test_every_manner(self) -> None:
        """However a resolver behaves, the check ends with a verdict, in time."""
        for manner in Manner:
            self.system.manner = manner
            before = self.clock.seconds()
            self.assertIn(self.check().verdict, ("same", "differs", "unreachable"), manner)
            self.assertLess(self.clock.seconds() - before, 6.1)

    def test_wrong_names(self) -> None:
        """What cannot be checked is refused in words."""
        for name in ("a\r\nb", "", "a b", "192.0.2.1", "[::1]", "x" * 300, "ü.example"):
            self.assertIs(self.attempt(name).type, CheckError, name)
        self.assertEqual(self.system.asked, [])

    def test_nobody_to_compare_with(self) -> None:
        """The system's resolver is not a reference for itself."""
        host = DnsHost(self.network, "192.0.2.9")
        done = Deferred.fromCoroutine(check_dns("sip.example", [SYSTEM], [SYSTEM], reactor=host))
        self.assertIn("nobody to compare with", str(self.failureResultOf(done, CheckError).value))


class ChineseTests(CheckCase):
    """The same in Chinese."""

    language = "zh"

    def test_sentences(self) -> None:
        """Every verdict has its sentence."""
        self.assertIn("问题不在 DNS", self.check().sentence)
        self.system.lies = ["10.0.0.1"]
        differs = self.check().sentence
        for part in (
            "与 203.0.113.1、203.0.113.2 不一致，涉及 A sip.example",
            "9.9.9.1（来自参考解析器）有 SIP 应答",
            "私有或回环地址（10.0.0.1）",
        ):
            self.assertIn(part, differs)
        self.first.manner = self.second.manner = Manner.SILENT
        self.assertIn("防火墙", self.check().sentence)
        self.system.manner = Manner.SILENT
        self.assertIn("没有应答（timeout）", self.check().sentence)

    def test_references(self) -> None:
        """Each language has its usual references; what is configured goes before them."""
        self.assertEqual(references_of((), "zh"), [("119.29.29.29", 53), ("223.5.5.5", 53)])
        self.assertEqual(references_of((), "en"), [("8.8.8.8", 53), ("1.1.1.1", 53)])
        self.assertEqual(references_of(("192.0.2.1:5353",), "zh"), [("192.0.2.1", 5353)])


class ArgumentsTests(SynchronousTestCase):
    """The command line."""

    def refused(self, *arguments: str) -> str:
        said = io.StringIO()
        with redirect_stderr(said):
            self.assertEqual(self.assertRaises(SystemExit, wanted, arguments).code, 2)
        return said.getvalue()

    def test_right(self) -> None:
        """Resolvers may be given several times, with ports."""
        found = wanted(["SIP.example.", "--system", "192.0.2.53:5353", "--resolver", "::1", "--resolver", "[::1]:54"])
        self.assertEqual((found.name, found.system, found.resolver), ("sip.example", [("192.0.2.53", 5353)], [("::1", 53), ("::1", 54)]))
        self.assertEqual(wanted(["a.example"]).resolver, [("8.8.8.8", 53), ("1.1.1.1", 53)])

    def test_wrong(self) -> None:
        """Each mistake has its sentence, and status 2."""
        self.assertIn("is no host name", self.refused("a\r\nb"))
        self.assertIn("is an address", self.refused("192.0.2.1"))
        self.assertIn("is no resolver", self.refused("a.example", "--resolver", "dns.example"))
        self.assertIn("is no resolver", self.refused("a.example", "--system", "192.0.2.1:99999"))
        self.assertIn("is no number of seconds", self.refused("a.example", "--timeout", "-1"))
        self.assertIn("NAME", self.refused())


class Sip(DatagramProtocol):
    """Answers anything as a SIP server does."""

    answer = b"SIP/2.0 404 Not\x1b Found\r\n\r\n"

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram.startswith(b"OPTIONS sip:") and self.transport is not None:
            self.transport.write(self.answer, addr)


class LoopbackTests(TestCase):
    """Real sockets, and the command as it is typed."""

    def server(self, *lies: str) -> DnsServer:
        server = DnsServer(reactor, TRUE)
        server.lies = list(lies)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def typed(self, *arguments: str) -> tuple[str, int]:
        """What is printed, and the status."""
        environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8"}
        out, _, status = await getProcessOutputAndValue(sys.executable, ["-m", "pbx.dnscheck", *arguments], environment)
        return out.decode(), status

    async def test_command(self) -> None:
        """Status 0 where all agree, 1 where they do not."""
        system, reference = self.server(), self.server("127.0.0.2")
        address = [f"{host}:{port}" for host, port in (system.address, reference.address)]
        printed, status = await self.typed("inside.lan", "--system", address[0], "--resolver", address[0], "--resolver", address[1])
        self.assertEqual((status, "inside.lan: differs" in printed), (1, True), printed)
        reference.lies = []
        printed, status = await self.typed("sip.example", "--system", address[0], "--resolver", address[1], "--language", "zh")
        self.assertEqual((status, "问题不在 DNS" in printed), (0, True), printed)
        printed, status = await self.typed("sip.example", "--system", address[0], "--resolver", address[0])
        self.assertEqual((status, printed), (2, "nobody to compare with: give the address of another resolver than the system's own\n"))

    async def test_probe(self) -> None:
        """Who answers OPTIONS speaks SIP, whatever the status; a closed port and silence are told apart."""
        port: Any = reactor.listenUDP(0, Sip(), interface="127.0.0.1")  # type: ignore[attr-defined]
        silent: Any = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        found = await probe(reactor, "127.0.0.1", number, True, 2.0)
        self.assertEqual(found, Probed("127.0.0.1", number, True, "404 Not? Found", True))
        nobody = await probe(reactor, "127.0.0.1", silent.getHost().port, False, 0.2)
        self.assertEqual((nobody.said, nobody.speaks), ("silent for 0.2 s", False))
        await port.stopListening()
        await silent.stopListening()
        closed = await probe(reactor, "127.0.0.1", number, True, 2.0)
        self.assertFalse(closed.speaks)
