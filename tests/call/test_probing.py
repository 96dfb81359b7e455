"""Watching the servers of a carrier: OPTIONS, and a breaker for each of them (RFC 3261 §11)."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from pbx.call.breaker import Breaker, CameUp, ProbeWanted, State, WentDown
from pbx.call.driving import NoWay
from pbx.call.peer import NextHop
from pbx.call.probing import KEPT, Prober, Server
from pbx.net.driver import Driver
from pbx.sip.effects import Arm, Effect, Notify
from pbx.sip.ids import Ids
from pbx.sip.transactions import Transactions
from pbx.testing.network import Network, Wire
from pbx.testing.time import run_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.sip.flow import Flow
    from pbx.sip.message import Request


def events(effects: list[Effect]) -> list[Any]:
    """What a machine tells its user."""
    return [effect.event for effect in effects if isinstance(effect, Notify)]


class BreakerTests(SynchronousTestCase):
    """The machine alone; chance always says a half, so an interval is what it says."""

    def setUp(self) -> None:
        self.breaker = Breaker(self, 30.0, lambda: 0.5, 100.0)

    def ask(self) -> float:
        """Wait until it wants a probe; gives when."""
        now = self.breaker.deadline
        assert now is not None
        self.assertEqual(events(self.breaker.wake(now)), [ProbeWanted()])
        return now

    def bring_down(self) -> float:
        """Two refusals; gives when it was down."""
        self.breaker.answered(503, self.ask())
        now = self.ask()
        self.breaker.answered(503, now)
        return now

    def test_up_at_first(self) -> None:
        """What is unknown is used, and asked about within a second."""
        self.assertEqual((self.breaker.state, self.breaker.deadline), (State.UP, 100.5))

    def test_interval(self) -> None:
        """While it answers it is asked every 30 s, and nothing is told."""
        now = self.ask()
        effects = self.breaker.answered(200, now + 0.25)
        self.assertEqual((events(effects), self.breaker.deadline), ([], now + 30.25))
        self.assertTrue(any(isinstance(effect, Arm) for effect in effects))

    def test_spread(self) -> None:
        """Chance moves a probe by up to a tenth, so that not all of them go at once."""
        for chance, seconds in ((0.0, 27.0), (1.0, 33.0)):
            breaker = Breaker(self, 30.0, [chance, chance].pop, 0.0)
            breaker.wake(1.0)
            breaker.answered(200, 1.0)
            self.assertEqual(breaker.deadline, 1.0 + seconds)

    def test_any_answer_is_a_sign_of_life(self) -> None:
        """404, 405, 401, 500 and 603 come from a server that is there; 503 and 408 do not count as answers."""
        for status in (200, 302, 401, 404, 405, 500, 603):
            self.breaker.answered(status, self.ask())
            self.assertEqual((self.breaker.state, self.breaker.why), (State.UP, ""))
        for status in (503, 408):
            self.breaker.answered(status, self.ask())
            self.assertTrue(self.breaker.why.startswith(f"it answers {status} "), self.breaker.why)

    def test_one_failure_is_none(self) -> None:
        """After one it is asked again soon, and an answer wipes it out."""
        now = self.ask()
        self.assertEqual(events(self.breaker.answered(503, now)), [])
        self.assertEqual((self.breaker.state, self.breaker.deadline), (State.UP, now + 2.0))
        self.breaker.answered(200, self.ask())
        self.assertEqual(events(self.breaker.answered(503, self.ask())), [])
        self.assertIs(self.breaker.state, State.UP)

    def test_two_refusals(self) -> None:
        """Two failures in a row: down, with the reason."""
        self.breaker.answered(503, self.ask())
        self.assertEqual(events(self.breaker.answered(503, self.ask())), [WentDown("it answers 503 Service Unavailable")])
        self.assertIs(self.breaker.state, State.DOWN)

    def test_silence(self) -> None:
        """Each 4 s without an answer is a failure; the transaction goes on asking meanwhile, so no second one is begun."""
        now = self.ask()
        self.assertEqual(events(self.breaker.wake(now + 4.0)), [])
        self.assertEqual(events(self.breaker.wake(now + 8.0)), [WentDown("no answer in 4 s")])
        self.assertIs(self.breaker.state, State.TRYING)
        self.assertEqual(events(self.breaker.wake(now + 12.0)), [])
        self.assertEqual(events(self.breaker.failed("no answer in 32 s", now + 32.0)), [])
        self.assertEqual((self.breaker.state, self.breaker.deadline), (State.DOWN, now + 36.0))

    def test_a_late_answer_is_an_answer(self) -> None:
        """After 6 s of silence it is slow, and not gone."""
        now = self.ask()
        self.breaker.wake(now + 4.0)
        self.assertEqual(events(self.breaker.answered(200, now + 6.0)), [])
        self.assertEqual((self.breaker.state, self.breaker.deadline), (State.UP, now + 36.0))

    def test_less_and_less_often(self) -> None:
        """What is down is asked after 4, 8, 16, 32 s, and then every 60 s."""
        now = self.bring_down()
        pauses = []
        for _ in range(7):
            asked = self.ask()
            self.assertIs(self.breaker.state, State.TRYING)
            pauses.append(asked - now)
            now = asked
            self.breaker.failed("it cannot be reached", now)
            self.assertIs(self.breaker.state, State.DOWN)
        self.assertEqual(pauses, [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])

    def test_back(self) -> None:
        """One answer brings it back, and the next time it is down the pauses begin anew."""
        self.bring_down()
        self.breaker.failed("x", self.ask())
        self.assertEqual(events(self.breaker.answered(404, self.ask())), [CameUp()])
        self.assertIs(self.breaker.state, State.UP)
        now = self.bring_down()
        self.assertEqual(self.breaker.deadline, now + 4.0)

    def test_too_early(self) -> None:
        """Woken before its time it does nothing; stopped, nothing at all."""
        self.assertEqual(self.breaker.wake(100.2), [])
        self.breaker.stop()
        self.assertEqual((self.breaker.deadline, self.breaker.wake(1000.0)), (None, []))


class OneWay:
    """A way over the wire of a test."""

    def __init__(self, wire: Wire, address: str, port: int) -> None:
        self.address = address
        self.is_open = True
        self._wire = wire
        self._port = port

    def open(self) -> Flow | None:
        return self._wire.flow((self.address, self._port)) if self.is_open else None

    def __str__(self) -> str:
        return f"{self.address}:{self._port} over UDP"


class FarServer:
    """A server that answers every request with ``status``; 0: not at all."""

    def __init__(self, network: Network, clock: Clock, address: str) -> None:
        self.status = 200
        self.received: list[tuple[float, Request]] = []
        wire = network.wire(address)
        self._transactions = Transactions(Ids("far", Random(address)))
        self._driver = wire.driver = Driver(clock, self._transactions, self, Logger())

    def arrived(self, request: Request, flow: Flow) -> None:
        self.received.append((self._driver.now(), request))
        if self.status:
            self._driver.carry_out(self._transactions.respond_stateless(request, flow, self.status))

    def broke(self, user: Any, failure: Any) -> None:
        failure.raiseException()


class ProberTests(SynchronousTestCase):
    """The prober on a network in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.01)
        self.wire = self.network.wire("192.0.2.1")
        self.transactions = Transactions(Ids("w", Random(1)))
        self.driver = self.wire.driver = Driver(self.clock, self.transactions, self, Logger())
        self.names: dict[str, list[str]] = {"carrier.example": ["203.0.113.1", "203.0.113.2"]}
        self.made: dict[str, OneWay] = {}
        self.told: list[tuple[Any, ...]] = []
        self.prober = Prober(self.driver, Ids("w", Random(2)), self.ways, self.clock)
        self.far = [FarServer(self.network, self.clock, f"203.0.113.{number}") for number in (1, 2, 3)]

    async def ways(self, hop: NextHop) -> Sequence[OneWay]:
        addresses = self.names.get(hop.host, [])
        if not addresses:
            raise NoWay(f"{hop.host} has no address")
        return [self.made.setdefault(address, OneWay(self.wire, address, hop.port or 5060)) for address in addresses]

    def arrived(self, request: Request, flow: Flow) -> None:
        raise AssertionError(f"nobody asks us: {request}")

    def broke(self, user: Any, failure: Any) -> None:
        failure.raiseException()

    # What the watch tells

    def addresses_changed(self) -> None:
        self.told.append(("addresses",))

    def not_found(self, hop: NextHop, why: str) -> None:
        self.told.append(("not found", str(hop), why))

    def went_down(self, server: Server, why: str) -> None:
        self.told.append(("down", server.name, why))

    def came_up(self, server: Server) -> None:
        self.told.append(("up", server.name))

    def start(self, *hops: NextHop, interval: float = 30.0) -> None:
        self.hops = hops or (NextHop("carrier.example"),)
        self.watch = self.prober.watch(self.hops, self, interval=interval)
        self.told.clear()

    def run_(self, seconds: float) -> None:
        run_for(self.clock, seconds)

    def states(self) -> list[str]:
        return [server.breaker.state.value for server in self.watch.servers.values()]

    def test_each_server_is_asked(self) -> None:
        """OPTIONS goes to each server by itself, every 30 s or so, for as long as it is watched."""
        self.start()
        self.run_(300.0)
        for far in self.far[:2]:
            times = [at for at, _ in far.received]
            self.assertLess(times[0], 1.1)
            for before, after in pairwise(times):
                self.assertTrue(26.9 < after - before < 33.2, after - before)
        self.assertEqual((self.states(), self.told, self.far[2].received), (["up", "up"], [], []))

    def test_request(self) -> None:
        """It is a request as RFC 3261 §11.1 has it: to the name that the settings have, with Contact and Accept."""
        self.start(NextHop("carrier.example", 5060))
        self.run_(2.0)
        request = self.far[0].received[0][1]
        self.assertEqual((request.method, request.target, str(request.to.uri)), ("OPTIONS",) + 2 * ("sip:carrier.example:5060",))
        self.assertEqual(request.headers["accept"], ["application/sdp"])
        self.assertEqual(request.headers["contact"], ["<sip:192.0.2.1:5060>"])
        self.assertTrue(request.from_tag)

    def test_ipv6(self) -> None:
        """An IPv6 address has its brackets in the Request-URI."""
        self.names["2001:db8::1"] = ["203.0.113.3"]
        self.start(NextHop("2001:db8::1"))
        self.run_(2.0)
        self.assertEqual(self.far[2].received[0][1].target, "sip:[2001:db8::1]")

    def test_out_and_back(self) -> None:
        """A server that falls silent is down within 40 s and 8 s of silence; it is back at its first answer; the other one stays up."""
        self.start()
        self.run_(5.0)
        self.network.cut("203.0.113.1", "192.0.2.1")
        self.run_(33.0 + 8.0)
        self.assertEqual(self.told, [("down", "203.0.113.1:5060 over UDP", "no answer in 4 s")])
        self.assertEqual((self.states(), self.watch.why_down), (["trying", "up"], ""))
        self.run_(600.0)
        self.assertEqual(len(self.told), 1)
        self.network.mend("203.0.113.1", "192.0.2.1")
        self.run_(66.1)
        self.assertEqual(self.told[1:], [("up", "203.0.113.1:5060 over UDP")])
        self.assertEqual(self.states(), ["up", "up"])

    def test_slow_down(self) -> None:
        """A server that is down for long gets a probe in 60 s and 32 s more, each repeated as any request."""
        self.start()
        self.network.cut("203.0.113.1", "192.0.2.1")
        self.run_(1000.0)
        before = len(self.network.packets)
        self.run_(980.0)
        sent = [packet for packet in list(self.network.packets)[before:] if packet.destination[0] == "203.0.113.1"]
        self.assertTrue(9 <= len({_branch(packet.data) for packet in sent}) <= 12, len(sent))
        self.assertLess(len(self.transactions.clients), 4)

    def test_503(self) -> None:
        """Two 503 in a row: down, and the reason tells it."""
        self.start()
        self.far[0].status = self.far[1].status = 503
        self.run_(5.0)
        self.assertEqual(self.states(), ["down", "down"])
        self.assertIn("203.0.113.1:5060 over UDP: it answers 503 Service Unavailable", self.watch.why_down)
        self.assertIn("203.0.113.2:5060 over UDP", self.watch.why_down)

    def test_icmp(self) -> None:
        """A port where nobody listens, and the kernel says so: down in some seconds."""
        self.names["carrier.example"] = ["203.0.113.9"]
        self.network.refuse = True
        self.start()
        self.run_(5.0)
        self.assertEqual(self.told, [("down", "203.0.113.9:5060 over UDP", "it cannot be reached")])

    def test_no_way(self) -> None:
        """A way that cannot be opened is a failure as well; when it can, the server comes back."""
        self.start()
        self.made["203.0.113.1"].is_open = False
        self.run_(5.0)
        self.assertEqual(self.told, [("down", "203.0.113.1:5060 over UDP", "it cannot be reached")])
        self.made["203.0.113.1"].is_open = True
        self.run_(20.0)
        self.assertEqual(self.states(), ["up", "up"])

    def test_living(self) -> None:
        """Next hops without a server that is up are left out; when none is left, all are tried."""
        self.names.update({"a.example": ["203.0.113.1"], "b.example": ["203.0.113.2"]})
        self.start(NextHop("a.example"), NextHop("b.example"))
        self.assertEqual(self.watch.living, self.hops)
        self.far[0].status = 503
        self.run_(5.0)
        self.assertEqual(self.watch.living, self.hops[1:])
        self.far[1].status = 503
        self.run_(40.0)
        self.assertEqual((self.watch.living, self.told[-1][0]), (self.hops, "down"))

    def test_living_first(self) -> None:
        """Of the ways to one name those to servers that are down come last, also by a transport that was not asked about."""
        self.start()
        ways = list(self.made.values())
        self.assertEqual(list(self.prober.living_first(ways)), ways)
        self.far[0].status = 503
        self.run_(5.0)
        self.assertEqual(self.prober.living_first(ways), ways[::-1])
        other = OneWay(self.wire, "203.0.113.1", 5061)
        self.assertEqual(self.prober.living_first([other, *ways]), [ways[1], other, ways[0]])

    def test_not_found(self) -> None:
        """A name that leads nowhere is down with its reason, told once, and looked up again until it is found."""
        self.start(NextHop("nowhere.example"))
        self.assertEqual(self.watch.why_down, "nowhere.example has no address")
        self.run_(60.0)
        self.assertEqual(self.told, [])
        self.names["nowhere.example"] = ["203.0.113.3"]
        self.run_(11.0)
        self.assertEqual((self.told, self.states(), self.watch.why_down), ([("addresses",)], ["up"], ""))
        self.assertTrue(self.far[2].received)

    def test_told_at_once(self) -> None:
        """What is known before ``watch`` returns is told before it returns."""
        self.prober.watch((NextHop("carrier.example"), NextHop("nowhere.example")), self)
        self.assertEqual(self.told, [("addresses",), ("not found", "nowhere.example", "nowhere.example has no address")])

    def test_moves(self) -> None:
        """A name that stands for another address: the new server is asked, the old one is not; its address is kept for a day."""
        self.start()
        hop = self.hops[0]
        self.names["carrier.example"] = ["203.0.113.3"]
        self.run_(61.0)
        self.assertEqual((list(self.watch.servers), self.told), (["203.0.113.3:5060 over UDP"], [("addresses",)]))
        self.assertEqual(set(self.watch.addresses(hop)), {"203.0.113.1", "203.0.113.2", "203.0.113.3"})
        asked = len(self.far[0].received)
        self.run_(KEPT)
        self.assertEqual(len(self.far[0].received), asked)
        self.assertEqual((self.watch.addresses(hop), len(self.told)), (["203.0.113.3"], 2))

    def test_lost_for_long(self) -> None:
        """A name that leads nowhere any more loses its addresses after a day, too."""
        self.start()
        self.names.clear()
        self.run_(KEPT + 100.0)
        self.assertEqual((self.watch.addresses(self.hops[0]), self.told[-1]), ([], ("addresses",)))

    def test_off(self) -> None:
        """With interval 0 nobody is asked, and everybody counts as up; names are looked up all the same."""
        self.start(interval=0.0)
        self.names["carrier.example"] = ["203.0.113.3"]
        self.run_(300.0)
        self.assertEqual((len(self.network.packets), self.watch.why_down, self.told), (0, "", [("addresses",)]))

    def test_stop(self) -> None:
        """Afterwards nothing is sent, nothing told, and no timer is left."""
        self.start()
        self.network.cut("203.0.113.1", "192.0.2.1")
        self.run_(2.0)
        self.assertEqual(self.prober.sizes(), {"watched_servers": 2})
        self.prober.stop()
        self.run_(40.0)
        self.assertEqual((self.told, self.prober.sizes(), self.clock.getDelayedCalls()), ([], {"watched_servers": 0}, []))
        self.assertEqual(self.driver.sizes()["standing_timers"], 0)

    def test_belongs_to_no_call(self) -> None:
        """Probes and their timers are standing ones: the tables of calls stay empty."""
        self.start()
        self.network.cut("203.0.113.1", "192.0.2.1")
        self.run_(5.0)
        sizes = self.driver.sizes()
        self.assertEqual((sizes["call_transactions"], sizes["call_timers"]), (0, 0))
        self.assertGreater(sizes["standing_timers"], 0)


def _branch(data: bytes) -> bytes:
    return data.partition(b";branch=")[2].partition(b"\r\n")[0]
