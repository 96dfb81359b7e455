"""The resolver over real sockets, on loopback."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from pbx.net.resolver import ResolutionError, Resolver
from pbx.testing.dns import DnsServer, Manner
from tests.net.resolving import CARRIER, HERE, Told


class LoopbackTests(TestCase):
    """Real sockets."""

    def setUp(self) -> None:
        self.dns = DnsServer(reactor, {**CARRIER, "large.example": [f"60 A 127.0.0.{n}" for n in range(1, 61)]})
        self.dns.start()
        self.addCleanup(self.dns.stop)
        self.resolver = Resolver(reactor, [self.dns.address], 1.0, Told(), route=lambda _: HERE)

    async def test_found(self) -> None:
        """NAPTR, SRV and addresses, over UDP."""
        found = await self.resolver.destinations("carrier.example")
        self.assertEqual(
            [(one.transport, one.host, one.port) for one in found], [("TLS", "198.51.100.1", 5061), ("TCP", "198.51.100.1", 5060)]
        )

    async def test_large(self) -> None:
        """Sixty addresses come over TCP."""
        self.assertEqual(len(await self.resolver.destinations("large.example", 5060)), 8)

    async def test_nobody_there(self) -> None:
        """A closed port is noticed at once."""
        address = self.dns.address
        await self.dns.stop()
        resolver = Resolver(reactor, [address], 30.0, Told())
        error = await self.assertFailure(Deferred.fromCoroutine(resolver.destinations("plain.example", 5060)), ResolutionError)
        self.assertIn("cannot be reached", str(error))

    async def test_failover_targets(self) -> None:
        """Two servers on this host, in the order of their priorities; the system's own routing says that they can be reached."""
        self.dns.set("_sip._udp.here.example", "60 SRV 20 0 5082 here.example", "60 SRV 10 0 5081 here.example")
        self.dns.set("here.example", "60 A 127.0.0.1", "60 AAAA 3fff::1")
        resolver = Resolver(reactor, [self.dns.address], 1.0, Told(), udp_families={4})
        found = await resolver.destinations("here.example")
        self.assertEqual([(one.host, one.port) for one in found], [("127.0.0.1", 5081), ("127.0.0.1", 5082)])

    async def test_every_manner(self) -> None:
        """Whatever the server does, nothing else is raised."""
        for manner in Manner:
            self.dns.manner = manner
            resolver = Resolver(reactor, [self.dns.address], 0.2, Told())
            try:
                await resolver.destinations("one.carrier.example", 5060)
            except ResolutionError as error:
                self.assertIn("one.carrier.example", str(error))
