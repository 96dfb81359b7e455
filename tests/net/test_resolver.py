"""The servers of a domain (RFC 3263): which they are, and in which order."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from pbx.net.dns_message import Service
from pbx.net.resolver import Destination
from pbx.testing.time import run_for
from tests.net.resolving import HERE, ResolverCase


class WithoutQuestionTests(ResolverCase):
    """What needs no DNS."""

    def test_address(self) -> None:
        """An address stands for itself: IPv4, IPv6, with brackets and without (§4.2)."""
        self.assertEqual(self.resolve("198.51.100.1"), ["UDP 198.51.100.1 5060"])
        self.assertEqual(self.resolve("198.51.100.1", 5070, "TCP"), ["TCP 198.51.100.1 5070"])
        self.assertEqual(self.resolve("2001:db8::1", transport="TLS"), ["TLS 2001:db8::1 5061"])
        self.assertEqual(self.resolve("[2001:db8::1]", secure=True), ["TLS 2001:db8::1 5061"])
        self.assertEqual(self.dns.asked, [])

    def test_localhost(self) -> None:
        """It is this host, whatever DNS says (RFC 6761 §6.3)."""
        self.assertEqual(self.resolve("localhost")[0], "UDP 127.0.0.1 5060")
        self.assertEqual(self.resolve("LocalHost.", 5080, "TCP")[0], "TCP 127.0.0.1 5080")
        self.assertEqual(self.dns.asked, [])

    def test_no_name(self) -> None:
        """What is no host name is not asked for."""
        for text in ("", "a b", "a\r\nb", "-a", "a..b", "ü.example", "x" * 64, "a." * 127 + "com", "_" * 300):
            self.assertIn("is no host name", self.resolve(text)[0])
        self.assertEqual(self.dns.asked, [])

    def test_no_such_transport(self) -> None:
        """SIP over what is not here, and sips: over UDP, are refused in words."""
        self.assertIn("there are UDP, TCP and TLS", self.resolve("carrier.example", transport="SCTP")[0])
        self.assertIn("UDP has none", self.resolve("carrier.example", transport="udp", secure=True)[0])


class SelectionTests(ResolverCase):
    """NAPTR, SRV, addresses."""

    def test_naptr(self) -> None:
        """The lowest order counts, by preference in it; records of other services are not ours (RFC 3263 §4.1)."""
        self.assertEqual(self.resolve("carrier.example"), ["TLS 198.51.100.1 5061", "TCP 198.51.100.1 5060"])

    def test_next_order(self) -> None:
        """Where the lowest order leads nowhere, the next one is used."""
        self.dns.set("_sips._tcp.carrier.example")
        self.dns.set("_sip._tcp.carrier.example")
        self.assertEqual(self.resolve("carrier.example"), ["UDP 198.51.100.1 5060", "UDP 198.51.100.2 5062"])

    def test_secure(self) -> None:
        """For sips: only SIPS services count."""
        self.assertEqual(self.resolve("carrier.example", secure=True), ["TLS 198.51.100.1 5061"])
        self.assertEqual(self.resolve("plain.example", secure=True), ["TLS 2001:db8::7 5061", "TLS 198.51.100.7 5061"])

    def test_transport(self) -> None:
        """With a transport there is no NAPTR: its SRV records decide."""
        self.assertEqual(self.resolve("carrier.example", transport="UDP"), ["UDP 198.51.100.1 5060", "UDP 198.51.100.2 5062"])
        self.assertEqual(self.resolve("Carrier.Example.", transport="tls"), ["TLS 198.51.100.1 5061"])
        self.assertEqual(self.resolve("carrier.example", transport="TCP", secure=True), ["TLS 198.51.100.1 5061"])
        self.assertEqual(self.dns.count(kind="NAPTR"), 0)

    def test_port(self) -> None:
        """With a port there are addresses only (§4.2)."""
        self.assertEqual(self.resolve("plain.example", 5080), ["UDP 2001:db8::7 5080", "UDP 198.51.100.7 5080"])
        self.assertEqual({kind for _, kind in self.dns.asked}, {"A", "AAAA"})

    def test_srv_without_naptr(self) -> None:
        """Without NAPTR each transport's SRV is asked for, at the same time: UDP first, then TCP."""
        self.dns.set("carrier.example")
        self.assertEqual(self.resolve("carrier.example"), ["UDP 198.51.100.1 5060", "UDP 198.51.100.2 5062", "TCP 198.51.100.1 5060"])
        self.assertAlmostEqual(self.clock.seconds(), 0.06)

    def test_addresses_only(self) -> None:
        """Without NAPTR and SRV it is UDP to the addresses, IPv6 before IPv4 (RFC 6724)."""
        self.assertEqual(self.resolve("plain.example"), ["UDP 2001:db8::7 5060", "UDP 198.51.100.7 5060"])

    def test_name_of_the_certificate(self) -> None:
        """A destination bears the domain that was asked for, not its SRV target (RFC 5922 §4)."""
        (found,) = self.successResultOf(self.waited(self.start("carrier.example", transport="TLS")))
        self.assertEqual(found, Destination("TLS", "198.51.100.1", 5061, "carrier.example"))

    def waited(self, waited_for: Deferred[Any]) -> Deferred[Any]:
        run_for(self.clock, 1.0)
        return waited_for

    def test_not_offered(self) -> None:
        """A target of "." says that there is no such service: then addresses are not tried (RFC 2782)."""
        self.dns.set("plain.example", "60 A 198.51.100.7")
        self.dns.set("_sip._udp.plain.example", "60 SRV 0 0 0 .")
        self.assertIn("there is no SIP over UDP", self.resolve("plain.example", transport="UDP")[0])
        self.assertIn("there is no SIP over UDP", self.resolve("plain.example")[0])
        self.dns.set("_sip._tcp.plain.example", "60 SRV 0 0 5060 plain.example")
        self.resolver.forget()
        self.assertEqual(self.resolve("plain.example"), ["TCP 198.51.100.7 5060"])

    def test_half_broken_service(self) -> None:
        """A target without address is passed over; if all are, the domain's own addresses are tried."""
        self.dns.set("one.carrier.example")
        self.assertEqual(self.resolve("carrier.example", transport="UDP"), ["UDP 198.51.100.2 5062"])
        self.dns.set("two.carrier.example")
        self.dns.set("carrier.example", "60 A 198.51.100.9")
        self.resolver.forget()
        self.assertEqual(self.resolve("carrier.example", transport="UDP"), ["UDP 198.51.100.9 5060"])

    def test_no_address(self) -> None:
        """A name that does not exist and one without address are told apart, and who says so is named."""
        (text,) = self.resolve("nobody.example")
        self.assertEqual(text, "nobody.example does not exist (asked for AAAA and A: 192.0.2.53 answers NXDOMAIN)")
        self.dns.set("text.example", "60 TXT hello")
        self.assertEqual(self.resolve("text.example"), ["text.example has no address (asked for AAAA and A: 192.0.2.53 has neither)"])

    def test_additional(self) -> None:
        """Addresses that come with the SRV records are used, and not asked for again."""
        self.dns.zone.additional = True
        self.assertEqual(self.resolve("carrier.example", transport="UDP"), ["UDP 198.51.100.1 5060", "UDP 198.51.100.2 5062"])
        self.assertEqual([kind for _, kind in self.dns.asked], ["SRV"])

    def test_bounded(self) -> None:
        """Of a crowd of servers and addresses the first ones are taken."""
        self.dns.set("_sip._udp.crowd.example", *(f"60 SRV {n} 0 5060 n{n}.crowd.example" for n in range(12)))
        for n in range(12):
            self.dns.set(f"n{n}.crowd.example", *(f"60 A 198.51.100.{10 * n + m}" for m in range(10)))
        found = self.resolve("crowd.example", transport="UDP")
        self.assertEqual(len(found), 24)
        self.assertEqual(found[0], "UDP 198.51.100.0 5060")


class WeightTests(ResolverCase):
    """RFC 2782: within a priority, chance after the weights."""

    def order(self, *drawn: int) -> list[str]:
        self.drawn = list(drawn)
        services = [Service(1, 10, 1, "a"), Service(1, 30, 1, "b"), Service(1, 0, 1, "z"), Service(0, 5, 1, "first")]
        return [one.target for one in self.resolver.by_weight(services)]

    def test_drawn(self) -> None:
        """A draw picks the first whose running sum reaches it; 0 is for those without weight."""
        self.assertEqual(self.order(3, 0, 0, 0), ["first", "z", "a", "b"])
        self.assertEqual(self.order(5, 11, 10, 0), ["first", "b", "a", "z"])
        self.assertEqual(self.order(5, 10, 30, 0), ["first", "a", "b", "z"])

    def test_shares(self) -> None:
        """Over many calls each server gets its share."""
        resolver = self.make(choose=Random(1).randrange)
        services = [Service(1, 25, 1, "a"), Service(1, 75, 1, "b")]
        firsts = [resolver.by_weight(services)[0].target for _ in range(2000)]
        self.assertTrue(0.21 < firsts.count("a") / 2000 < 0.29)


class FamilyTests(ResolverCase):
    """Dual stack (RFC 7984)."""

    def test_no_route(self) -> None:
        """A family that cannot be reached from here is left out."""
        self.resolver = self.make(route=lambda address: None if ":" in address else HERE)
        self.assertEqual(self.resolve("plain.example"), ["UDP 198.51.100.7 5060"])

    def test_no_socket(self) -> None:
        """UDP servers of a family that we have no UDP socket for are left out; streams have one always."""
        self.resolver = self.make(udp_families={4})
        self.assertEqual(self.resolve("plain.example"), ["UDP 198.51.100.7 5060"])
        self.assertEqual(self.resolve("plain.example", transport="TCP"), ["TCP 2001:db8::7 5060", "TCP 198.51.100.7 5060"])

    def test_route_changes(self) -> None:
        """An address family that comes or goes is noticed within seconds."""
        routes: dict[str, str] = {}
        self.resolver = self.make(route=lambda address: routes.get("6" if ":" in address else "4"))
        self.assertIn("nothing can be sent", self.resolve("plain.example", 5060)[0])
        routes["4"] = HERE
        run_for(self.clock, 10.0)
        self.assertEqual(self.resolve("plain.example", 5060), ["UDP 198.51.100.7 5060"])

    def test_scope(self) -> None:
        """IPv6 with a private address of ours toward a public one comes last (RFC 6724 §5 rule 2)."""
        self.dns.set("public.example", "60 A 9.9.9.9", "60 AAAA 2620:fe::fe")
        self.resolver = self.make(route=lambda address: "fd00::1" if ":" in address else HERE)
        self.assertEqual(self.resolve("public.example", 5060), ["UDP 9.9.9.9 5060", "UDP 2620:fe::fe 5060"])

    def test_nowhere(self) -> None:
        """Addresses that nothing can be sent to are none: so names are blocked."""
        self.dns.set("blocked.example", "60 A 0.0.0.0", "60 AAAA ::", "60 A 224.0.0.1", "60 A 255.255.255.255")
        self.assertIn(
            "leads to ::, 0.0.0.0, 224.0.0.1, 255.255.255.255, where nothing can be sent", self.resolve("blocked.example", 5060)[0]
        )


class AliasTests(ResolverCase):
    """CNAME."""

    def test_followed(self) -> None:
        """Aliases are followed, within an answer and beyond it; the shortest TTL of the way counts."""
        self.dns.set("www.example", "5 CNAME deeper.example")
        self.dns.set("deeper.example", "60 CNAME plain.example")
        self.assertEqual(self.resolve("www.example", 5060), ["UDP 2001:db8::7 5060", "UDP 198.51.100.7 5060"])
        self.dns.asked.clear()
        run_for(self.clock, 4.0)
        self.resolve("www.example", 5060)
        self.assertEqual(self.dns.asked, [])
        run_for(self.clock, 2.0)
        self.resolve("www.example", 5060)
        self.assertEqual(self.dns.count("www.example", "A"), 1)

    def test_circle(self) -> None:
        """A circle of aliases ends."""
        self.dns.set("a.example", "60 CNAME b.example")
        self.dns.set("b.example", "60 CNAME a.example")
        self.assertIn("more than 8 aliases", self.resolve("a.example", 5060)[0])
        self.assertLess(len(self.dns.asked), 25)

    def test_slow(self) -> None:
        """The time limit is for the whole way through the aliases."""
        for n in range(8):
            self.dns.set(f"n{n}.example", f"60 CNAME n{n + 1}.example")
        self.dns.zone.records[b"n8.example"] = []
        self.dns.delay = 0.8
        self.assertIn("n0.example cannot be looked up", self.resolve("n0.example", 5060)[0])
        self.assertLess(self.clock.seconds(), 3.1)

    def test_to_nothing(self) -> None:
        """An alias of a name that does not exist leads nowhere."""
        self.dns.set("a.example", "60 CNAME gone.example")
        self.assertIn("NXDOMAIN", self.resolve("a.example", 5060)[0])
        self.dns.set("a.example", "60 CNAME bad!name.example")
        self.resolver.forget()
        self.assertIn("no host name", self.resolve("a.example", 5060)[0])
