"""Which DNS servers the resolver asks: those of the settings, or those of the system."""

from __future__ import annotations

import os
from pathlib import Path

from pbx.net.resolver import Resolver
from pbx.net.system_names import SystemNames
from pbx.testing.dns import DnsHost
from pbx.testing.time import run_for
from tests.net.resolving import HERE, ResolverCase


class ConfiguredTests(ResolverCase):
    """Other servers while it runs."""

    def test_servers(self) -> None:
        """They are asked from now on, and what the old ones have said is forgotten."""
        self.resolve("carrier.example")
        asked = len(self.dns.asked)
        self.network.cut("192.0.2.99", HERE)
        self.resolver.configure([("192.0.2.99", 53)], 1.0)
        self.assertEqual(self.resolver.servers(), [("192.0.2.99", 53)])
        began = self.clock.seconds()
        [why] = self.resolve("carrier.example")
        self.assertIn("192.0.2.99", why)
        self.assertEqual(len(self.dns.asked), asked)
        self.assertLess(self.clock.seconds() - began, 2.5)


class SystemTests(ResolverCase):
    """Without ``[dns] servers`` the system's files count."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.hosts, self.servers = folder / "hosts", folder / "resolv.conf"
        self.hosts.write_text(
            "# ours\n198.51.100.70 Carrier.Example carrier # it\n2001:db8::70 carrier.example\nnonsense here\n127.0.0.1\n"
        )
        self.servers.write_text("nameserver 192.0.2.53\nnameserver nonsense\nnameserver\noptions x\nsearch example\n; nameserver 9.9.9.9\n")
        system = SystemNames(self.clock, str(self.servers), str(self.hosts))
        host = DnsHost(self.network, HERE)
        self.resolver = Resolver(host, [], 3.0, self.log, route=lambda _: HERE, system=system)

    def test_hosts(self) -> None:
        """A name in the hosts file has its addresses from there, and DNS is not asked at all."""
        self.assertEqual(self.resolve("carrier.example"), ["UDP 2001:db8::70 5060", "UDP 198.51.100.70 5060"])
        self.assertEqual(self.resolve("CARRIER", transport="TCP"), ["TCP 198.51.100.70 5060"])
        self.assertEqual(self.resolve("localhost"), ["UDP ::1 5060", "UDP 127.0.0.1 5060"])
        self.assertEqual(self.dns.asked, [])

    def test_servers(self) -> None:
        """The servers of resolv.conf are asked; a file without any means this host."""
        self.assertEqual(self.resolver.servers(), [("192.0.2.53", 53)])
        self.assertEqual(len(self.resolve("plain.example", 5060)), 2)
        self.servers.unlink()
        run_for(self.clock, 31.0)
        self.assertEqual(self.resolver.servers(), [("127.0.0.1", 53)])

    def test_changed(self) -> None:
        """A file that has changed is read again within half a minute."""
        self.resolve("carrier.example")
        self.hosts.write_text("198.51.100.71 carrier.example\n")
        os.utime(self.hosts, (1, 1))
        run_for(self.clock, 31.0)
        self.assertEqual(self.resolve("carrier.example"), ["UDP 198.51.100.71 5060"])
