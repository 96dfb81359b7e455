"""The DNS server for tests, asked by the client of twisted.names: real sockets on loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.testing.dns import NEGATIVE, DnsHost, DnsServer, Manner
from pbx.testing.network import Network
from pbx.testing.time import run_for

TABLE = {
    "carrier.example": [
        '300 NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.carrier.example.',
        "60 A 127.0.0.1",
        "60 AAAA ::1",
        "60 TXT hello there",
    ],
    "_sip._udp.carrier.example": ["60 SRV 10 5 5060 one.carrier.example"],
    "one.carrier.example": ["30 A 127.0.0.1"],
    "www.example": ["60 CNAME one.carrier.example"],
}


class ServerTests(TestCase):
    """What it answers."""

    def setUp(self) -> None:
        self.server = DnsServer(reactor, TABLE, additional=True)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.client: Any = Resolver(servers=[self.server.address], timeout=(0.3,), reactor=reactor)

    async def test_records(self) -> None:
        """Each kind of record, with its TTL, as twisted.names' own client reads it."""
        answers, _, _ = await self.client.lookupNamingAuthorityPointer("carrier.example")
        self.assertEqual(
            (answers[0].ttl, answers[0].payload),
            (300, dns.Record_NAPTR(10, 20, b"s", b"SIP+D2U", b"", b"_sip._udp.carrier.example", ttl=300)),
        )
        answers, _, more = await self.client.lookupService("_sip._udp.carrier.example")
        self.assertEqual((answers[0].payload.port, more[0].payload.dottedQuad()), (5060, "127.0.0.1"))
        answers, _, _ = await self.client.lookupIPV6Address("carrier.example")
        self.assertEqual(len(answers), 1)
        answers, _, _ = await self.client.lookupText("carrier.example")
        self.assertEqual(answers[0].payload.data, [b"hello", b"there"])
        answers, _, _ = await self.client.lookupAddress("WWW.example")
        self.assertEqual([answer.type for answer in answers], [dns.CNAME, dns.A])
        self.assertEqual((self.server.count(), self.server.count(kind="A"), self.server.count("carrier.example", "AAAA")), (5, 1, 1))

    async def test_nothing(self) -> None:
        """A name without such records has a SOA record beside the empty answer; a name that is not there is NXDOMAIN."""
        answers, authority, _ = await self.client.lookupService("carrier.example")
        self.assertEqual((answers, authority[0].type, authority[0].payload.minimum), ([], dns.SOA, NEGATIVE))
        error = await self.assertFailure(self.client.lookupAddress("gone.example"), DNSNameError)
        self.assertEqual(error.args[0].authority[0].type, dns.SOA)

    async def test_changed(self) -> None:
        """Records can be changed while it runs."""
        self.server.set("one.carrier.example", "5 A 127.0.0.2")
        answers, _, _ = await self.client.lookupAddress("one.carrier.example")
        self.assertEqual(answers[0].payload.dottedQuad(), "127.0.0.2")
        self.server.set("one.carrier.example")
        await self.assertFailure(self.client.lookupAddress("one.carrier.example"), DNSNameError)

    async def test_large(self) -> None:
        """What does not fit into a datagram comes over TCP."""
        self.server.set("large.example", *(f"60 A 127.0.0.{n}" for n in range(1, 81)))
        answers, _, _ = await self.client.lookupAddress("large.example")
        self.assertEqual((len(answers), self.server.count("large.example")), (80, 2))

    async def test_lies(self) -> None:
        """It lies about every name that has an address, and invents none."""
        self.server.lies = ["203.0.113.66"]
        answers, _, _ = await self.client.lookupAddress("one.carrier.example")
        self.assertEqual([answer.payload.dottedQuad() for answer in answers], ["203.0.113.66"])
        answers, _, _ = await self.client.lookupIPV6Address("one.carrier.example")
        self.assertEqual(answers, [])
        await self.assertFailure(self.client.lookupAddress("gone.example"), DNSNameError)

    async def test_manners(self) -> None:
        """It fails as it is told, for all, for one name or for one kind of record."""
        self.server.manner = Manner.SERVFAIL
        self.server.manners = {"AAAA": Manner.REFUSED, "one.carrier.example": Manner.SILENT}
        await self.assertFailure(self.client.lookupAddress("carrier.example"), DNSServerError)
        await self.assertFailure(self.client.lookupIPV6Address("carrier.example"), DNSQueryRefusedError)
        await self.assertFailure(self.client.lookupAddress("one.carrier.example"), TimeoutError)

    async def test_port_taken(self) -> None:
        """A port that is taken is said to be so."""
        other = DnsServer(reactor, port=self.server.address[1])
        self.assertRaises(CannotListenError, other.start)

    def test_wrong_record(self) -> None:
        """A line that is no record is refused with one that is."""
        for line in ("", "A 192.0.2.1", "60 MX 10 mail.example", "60 A", "60 A nonsense", "60 SRV 1 2 three a.example"):
            self.assertIn("is no record", str(self.assertRaises(ValueError, self.server.set, "a.example", line)))


class MemoryTests(SynchronousTestCase):
    """The same on a network in memory."""

    def test_slow(self) -> None:
        """It answers after its delay, in virtual time."""
        clock = Clock()
        network = Network(clock, delay=0.1)
        server = DnsServer(DnsHost(network, "192.0.2.53"), TABLE, port=53)
        server.start()
        server.delay = 2.0
        client: Any = Resolver(servers=[server.address], timeout=(5.0,), reactor=DnsHost(network, "192.0.2.1"))
        looking: Deferred[Any] = client.lookupAddress("one.carrier.example")
        run_for(clock, 2.1)
        self.assertNoResult(looking)
        run_for(clock, 0.11)
        answers, _, _ = self.successResultOf(looking)
        self.assertEqual(answers[0].payload.dottedQuad(), "127.0.0.1")
        self.successResultOf(server.stop())
        again = DnsServer(DnsHost(network, "192.0.2.53"), TABLE, port=53)
        again.start()
        self.assertRaises(CannotListenError, DnsServer(DnsHost(network, "192.0.2.53"), TABLE, port=53).start)
