"""The servers of a domain (RFC 3263): in virtual time against a DNS server in memory, and on loopback."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.net.dns_message import Service
from pbx.net.lookups import FAILED_FOR, MOST_KEPT, STALE_AFTER, STALE_FOR
from pbx.net.resolver import Destination, ResolutionError, Resolver
from pbx.net.system_names import SystemNames
from pbx.testing.dns import DnsHost, DnsServer, Manner, Table
from pbx.testing.network import Network
from pbx.testing.time import run_for, run_until

HERE = "192.0.2.9"
CARRIER: Table = {
    "carrier.example": [
        '300 NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.carrier.example',
        '300 NAPTR 10 20 "S" "sip+d2t" "" _sip._tcp.carrier.example',
        '300 NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.carrier.example',
        '300 NAPTR 1 1 "s" "E2U+sip" "" _other.carrier.example',
        '300 NAPTR 1 1 "u" "SIP+D2U" "!.*!x!" carrier.example',
    ],
    "_sip._udp.carrier.example": ["60 SRV 20 0 5062 two.carrier.example", "60 SRV 10 0 5060 one.carrier.example"],
    "_sip._tcp.carrier.example": ["60 SRV 10 0 5060 one.carrier.example"],
    "_sips._tcp.carrier.example": ["60 SRV 10 0 5061 one.carrier.example"],
    "one.carrier.example": ["30 A 198.51.100.1"],
    "two.carrier.example": ["30 A 198.51.100.2"],
    "plain.example": ["30 A 198.51.100.7", "60 AAAA 2001:db8::7"],
}


class Told:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str, **values: object) -> None:
        self.lines.append("warn: " + text.format(**values))

    def info(self, text: str, **values: object) -> None:
        self.lines.append("info: " + text.format(**values))


class ResolverCase(SynchronousTestCase):
    """One resolver, one DNS server, and nothing of the real world."""

    table: Table = CARRIER

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.01, refuse=True)
        self.dns = DnsServer(DnsHost(self.network, "192.0.2.53"), self.table, port=53)
        self.dns.start()
        self.log = Told()
        self.drawn: list[int] = []
        self.resolver = self.make()

    def make(self, *servers: tuple[str, int], **more: Any) -> Resolver:
        more = {"choose": lambda below: self.drawn.pop(0) if self.drawn else 7 % below, "route": lambda _: HERE, **more}
        return Resolver(DnsHost(self.network, HERE), servers or [self.dns.address], 3.0, self.log, **more)

    def start(self, *arguments: Any, **named: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.resolver.destinations(*arguments, **named))

    def resolve(self, *arguments: Any, **named: Any) -> list[str]:
        """What comes out, in short, or the sentence why nothing does."""
        done: list[Any] = []
        self.start(*arguments, **named).addBoth(done.append)
        run_until(self.clock, lambda: done, 60.0)
        (result,) = done
        if isinstance(result, Failure):
            self.assertIs(result.type, ResolutionError)
            return [str(result.value)]
        return [f"{one.transport} {one.host} {one.port}" for one in result]

    def tearDown(self) -> None:
        """Nothing is left behind: no question, no timer, no socket."""
        run_for(self.clock, 20.0)
        self.assertEqual(self.resolver.sizes()["dns_questions"], 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


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


class MemoryTests(ResolverCase):
    """What is remembered, and how long."""

    def test_ttl(self) -> None:
        """An answer is used for its TTL and asked for again after it."""
        for passed, questions in ((0.0, 2), (29.0, 2), (1.5, 3), (28.0, 3), (3.0, 5)):
            run_for(self.clock, passed)
            self.resolve("plain.example", 5060)
            self.assertEqual(len(self.dns.asked), questions, f"at {self.clock.seconds()}")

    def test_no_ttl(self) -> None:
        """A TTL of zero is not kept; one with the highest bit set is zero (RFC 2181 §8)."""
        self.dns.set("fleeting.example", "0 A 198.51.100.1")
        for _ in range(2):
            self.resolve("fleeting.example", 5060)
        self.assertEqual(self.dns.count("fleeting.example", "A"), 2)

    def test_missing(self) -> None:
        """That there is nothing is kept for the time that the SOA record says (RFC 2308 §5)."""
        self.resolve("nobody.example", 5060)
        run_for(self.clock, 19.0)
        self.resolve("nobody.example", 5060)
        self.assertEqual(self.dns.count(kind="A"), 1)
        run_for(self.clock, 2.0)
        self.dns.set("nobody.example", "60 A 198.51.100.3")
        self.assertEqual(self.resolve("nobody.example", 5060), ["UDP 198.51.100.3 5060"])

    def test_shared(self) -> None:
        """Equal questions at one time are one question, and it does not end for the others when one gives up."""
        waiting = [self.start("plain.example", 5060) for _ in range(5)]
        waiting[0].cancel()
        waiting[3].cancel()
        run_for(self.clock, 1.0)
        self.assertEqual(len(self.dns.asked), 2)
        self.assertEqual([len(self.successResultOf(waiting[place])) for place in (1, 2, 4)], [2, 2, 2])
        for place in (0, 3):
            self.failureResultOf(waiting[place])

    def test_given_up_by_all(self) -> None:
        """When nobody waits any more the answer is still kept."""
        waiting = self.start("plain.example", 5060)
        waiting.cancel()
        self.failureResultOf(waiting)
        run_for(self.clock, 1.0)
        self.resolve("plain.example", 5060)
        self.assertEqual(len(self.dns.asked), 2)

    def test_cancelled(self) -> None:
        """Who cancels hears of a cancellation, whatever was being asked."""
        for arguments in (("carrier.example",), ("carrier.example", None, "UDP"), ("plain.example",)):
            for passed in (0.0, 0.015, 0.025):
                self.resolver.forget()
                waiting = self.start(*arguments)
                run_for(self.clock, passed)
                waiting.cancel()
                self.failureResultOf(waiting, CancelledError)
                run_for(self.clock, 1.0)

    def test_bounded(self) -> None:
        """The oldest answers go when there are too many."""
        self.network.delay = 0.0
        for n in range(MOST_KEPT // 2 + 50):
            self.resolve(f"n{n}.example", 5060)
        self.assertLessEqual(self.resolver.sizes()["dns_answers"], MOST_KEPT)

    def test_too_many_questions(self) -> None:
        """So many at once that they are refused: nothing is held without bound."""
        self.dns.manner = Manner.SILENT
        waiting = [self.start(f"n{n}.example", 5060) for n in range(200)]
        self.assertEqual(self.resolver.sizes()["dns_questions"], 256)
        run_for(self.clock, 4.0)
        texts = [str(self.failureResultOf(one, ResolutionError).value) for one in waiting]
        self.assertIn("other names are being looked up", texts[-1])
        self.assertIn("does not answer", texts[0])


class StaleTests(ResolverCase):
    """An old answer is better than none (RFC 8767)."""

    def setUp(self) -> None:
        super().setUp()
        self.resolve("plain.example", 5060)
        run_for(self.clock, 61.0)
        self.dns.manner = Manner.SILENT

    def found(self) -> tuple[list[str], float]:
        """What comes, and after how long."""
        before = self.clock.seconds()
        return self.resolve("plain.example", 5060), round(self.clock.seconds() - before, 3)

    def test_used(self) -> None:
        """DNS is dead: after a moment the expired answer is used, then at once, and the log says so once for each record."""
        both = ["UDP 2001:db8::7 5060", "UDP 198.51.100.7 5060"]
        self.assertEqual(self.found(), (both, STALE_AFTER))
        run_for(self.clock, 2.0)
        self.assertEqual(self.found(), (both, 0.0))
        run_for(self.clock, FAILED_FOR)
        self.assertEqual(self.found(), (both, STALE_AFTER))
        run_for(self.clock, 3.0)
        self.assertEqual(len(self.log.lines), 2)
        self.assertIn("warn: A of plain.example: DNS fails (no answer within 1.8 s)", self.log.lines[1])

    def test_an_hour(self) -> None:
        """After an hour it is not used any more."""
        run_for(self.clock, STALE_FOR)
        (text,), seconds = self.found()
        self.assertEqual(text, "plain.example cannot be looked up: asked for AAAA: 192.0.2.53 does not answer within 3 s")
        self.assertEqual(seconds, 3.0)

    def test_back(self) -> None:
        """Once it answers again the new answer counts, and the log says that too."""
        self.found()
        run_for(self.clock, 10.0)
        self.dns.manner = Manner.HONEST
        self.dns.set("plain.example", "60 A 198.51.100.8")
        self.assertEqual(self.found(), (["UDP 198.51.100.8 5060"], 0.02))
        self.assertIn("info: A of plain.example: DNS answers again", self.log.lines)

    def test_failure(self) -> None:
        """A server that fails at once brings the old answer at once."""
        self.dns.manner = Manner.SERVFAIL
        self.assertEqual(self.found()[1], 0.02)

    def test_gone(self) -> None:
        """A name that is gone is gone: only failures bring the old answer."""
        self.dns.manner = Manner.HONEST
        self.dns.set("plain.example")
        self.assertIn("does not exist", self.found()[0][0])


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
