"""What the tests of the resolver share: a carrier's zone, a DNS server in memory, and proof that nothing is left behind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.resolver import ResolutionError, Resolver
from pbx.testing.dns import DnsHost, DnsServer, Table
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
