"""DNS servers that are dead, silent or lying cost the resolver its time limit, and the next one is asked."""

from __future__ import annotations

from typing import Any

from pbx.net.resolver import Resolver
from pbx.testing.dns import DnsHost, DnsServer, Manner
from pbx.testing.time import run_for
from tests.net.resolving import CARRIER, HERE, ResolverCase


class BadServerTests(ResolverCase):
    """A dead, silent or lying server costs its time limit, and ends in a sentence."""

    def check(self, manner: Manner, says: str, seconds: float) -> None:
        self.dns.manner = manner
        self.assertIn(says, self.resolve("plain.example", 5060)[0])
        self.assertAlmostEqual(self.clock.seconds(), seconds, 2)

    def test_silent(self) -> None:
        """It is asked three times within the time limit."""
        self.check(Manner.SILENT, "plain.example cannot be looked up: asked for AAAA: 192.0.2.53 does not answer within 3 s", 3.0)
        self.assertEqual(self.dns.count(kind="A"), 3)

    def test_dead(self) -> None:
        """A whole search with DNS silent takes two time limits, not one for each kind of record."""
        self.dns.manner = Manner.SILENT
        self.assertIn("does not answer", self.resolve("plain.example")[0])
        self.assertAlmostEqual(self.clock.seconds(), 6.0, 1)

    def test_failed_is_kept(self) -> None:
        """The same failure is told at once for some seconds."""
        self.dns.manner = Manner.SILENT
        self.resolve("plain.example", 5060)
        asked = len(self.dns.asked)
        self.resolve("plain.example", 5060)
        self.assertEqual((self.clock.seconds(), len(self.dns.asked)), (3.0, asked))

    def test_refuses_datagrams(self) -> None:
        """Nobody listens there: ICMP is heard at once."""
        self.resolver = self.make(("192.0.2.54", 53))
        self.assertIn("192.0.2.54 cannot be reached (nobody listens there)", self.resolve("plain.example", 5060)[0])
        self.assertLess(self.clock.seconds(), 0.1)

    def test_no_route(self) -> None:
        """There is no way to the DNS server: known at once, with the system's words."""

        class Cut(DnsHost):
            def listenUDP(self, *arguments: Any, **named: Any) -> Any:
                raise OSError(101, "Network is unreachable")

        self.resolver = Resolver(Cut(self.network, HERE), [self.dns.address], 3.0, self.log)
        self.assertIn("192.0.2.53 cannot be reached (Network is unreachable)", self.resolve("plain.example", 5060)[0])
        self.assertEqual(self.clock.seconds(), 0.0)

    def test_responses(self) -> None:
        """SERVFAIL and REFUSED are called by their names."""
        self.check(Manner.SERVFAIL, "192.0.2.53 answers SERVFAIL", 0.02)
        self.resolver = self.make()
        self.check(Manner.REFUSED, "192.0.2.53 answers REFUSED", 0.04)
        self.resolver = self.make()
        self.check(Manner.REFERRAL, "it gives no recursion", 0.06)

    def test_garbage(self) -> None:
        """Octets that are no DNS message, circles of pointers, and promises of 65535 records."""
        self.check(Manner.GARBAGE, "192.0.2.53 answers with what is no DNS message", 0.02)
        self.resolver = self.make()
        self.check(Manner.LOOPING, "leads in a circle", 0.04)
        self.resolver = self.make()
        self.check(Manner.CROWDED, "it says that it holds 196605 records", 0.06)

    def test_not_asked_for(self) -> None:
        """What has another id or answers another question does not count (RFC 5452 §9.1)."""
        self.check(Manner.WRONG_ID, "192.0.2.53 answers with an id that was not ours", 3.0)
        self.resolver = self.make()
        self.check(Manner.WRONG_QUESTION, "192.0.2.53 answers a question that was not ours", 6.0)
        self.resolver = self.make()
        self.check(Manner.OTHER_NAME, "has no address", 6.02)

    def test_from_elsewhere(self) -> None:
        """A datagram from another address is not heard, though its id be right."""
        self.dns.delay = 0.5
        waiting = self.start("plain.example", 5060)
        run_for(self.clock, 0.1)
        stranger = self.network.udp("203.0.113.66", 53)
        for packet in list(self.network.packets):
            stranger.send(packet.data[:2] + b"\x81\x83" + packet.data[4:], packet.source)
        run_for(self.clock, 2.0)
        self.assertEqual(len(self.successResultOf(waiting)), 2)

    def test_cut(self) -> None:
        """A truncated answer is fetched over TCP, and what may go wrong there has its sentence."""
        self.dns.manner = Manner.CUT
        self.assertEqual(len(self.resolve("plain.example", 5060)), 2)
        for manner, says in ((Manner.CUT_ALWAYS, "cuts its answer even over TCP"), (Manner.CUT_CLOSED, "over TCP closes the connection")):
            self.resolver = self.make()
            self.dns.manner = manner
            self.assertIn(says, self.resolve("plain.example", 5060)[0])
        self.resolver = self.make()
        self.dns.manner = Manner.CUT
        self.dns.reactor.ports.clear()
        self.assertIn("cuts its answer, and over TCP cannot be reached", self.resolve("plain.example", 5060)[0])

    def test_large(self) -> None:
        """What does not fit into 512 octets comes over TCP."""
        self.dns.set("large.example", *(f"60 A 198.51.100.{n}" for n in range(60)))
        self.assertEqual(len(self.resolve("large.example", 5060)), 8)
        self.assertEqual(self.dns.count(kind="A"), 2)

    def test_naptr_not_answered(self) -> None:
        """A small server that is silent to what it does not know still gives addresses."""
        self.dns.manners = {"NAPTR": Manner.SILENT, "SRV": Manner.SILENT}
        self.assertEqual(self.resolve("plain.example"), ["UDP 2001:db8::7 5060", "UDP 198.51.100.7 5060"])
        self.assertAlmostEqual(self.clock.seconds(), 6.0, 1)

    def test_one_family_fails(self) -> None:
        """Where AAAA fails, A is enough."""
        self.dns.manners = {"AAAA": Manner.SERVFAIL}
        self.assertEqual(self.resolve("plain.example", 5060), ["UDP 198.51.100.7 5060"])


class SeveralServersTests(ResolverCase):
    """More than one DNS server."""

    def setUp(self) -> None:
        super().setUp()
        self.other = DnsServer(DnsHost(self.network, "192.0.2.54"), CARRIER, port=53)
        self.other.start()
        self.resolver = self.make(self.dns.address, self.other.address)

    def test_next(self) -> None:
        """A silent one is passed over within a quarter of the time limit, and later not asked first."""
        self.dns.manner = Manner.SILENT
        self.assertEqual(len(self.resolve("plain.example", 5060)), 2)
        self.assertAlmostEqual(self.clock.seconds(), 0.77, 2)
        self.resolve("two.carrier.example", 5060)
        self.assertAlmostEqual(self.clock.seconds(), 0.79, 2)

    def test_next_at_once(self) -> None:
        """One that fails is passed over at once."""
        for manner in (Manner.SERVFAIL, Manner.GARBAGE, Manner.REFERRAL):
            self.resolver = self.make(self.dns.address, self.other.address)
            self.dns.manner = manner
            before = self.clock.seconds()
            self.assertEqual(len(self.resolve("plain.example", 5060)), 2)
            self.assertAlmostEqual(self.clock.seconds() - before, 0.04)

    def test_slow(self) -> None:
        """The first answer counts, though its server was thought silent."""
        self.dns.delay, self.other.manner = 1.0, Manner.SILENT
        self.assertEqual(len(self.resolve("plain.example", 5060)), 2)
        self.assertAlmostEqual(self.clock.seconds(), 1.02, 2)

    def test_all_fail(self) -> None:
        """Each is named with what it did."""
        self.dns.manner, self.other.manner = Manner.SERVFAIL, Manner.SILENT
        (text,) = self.resolve("plain.example", 5060)
        self.assertIn("192.0.2.53 answers SERVFAIL; 192.0.2.54 does not answer within 3 s", text)

    def test_no_such_name(self) -> None:
        """NXDOMAIN is an answer: nobody else is asked."""
        self.resolve("nobody.example", 5060)
        self.assertEqual(self.other.asked, [])
