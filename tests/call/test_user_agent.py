"""Keeping accounts registered: servers, failover, time (RFC 3261 §10.2, RFC 3263 §4.3, RFC 5626 §4.4, §4.5)."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from pbx.call.driving import NoWay
from pbx.call.enrolment import GOODBYE, Enrolment
from pbx.call.peer import NextHop
from pbx.call.user_agent import UserAgent
from pbx.net.driver import Driver
from pbx.sip import build
from pbx.sip.ids import Ids
from pbx.sip.registration import State
from pbx.sip.registration_events import Account, Registered, RegistrationFailed
from pbx.sip.transactions import Transactions
from pbx.testing.network import Network, Wire
from pbx.testing.time import run_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.sip.flow import Flow
    from pbx.sip.message import Request

ACCOUNT = Account("sip:carrier.example", "sip:4930123@carrier.example", "token77", "4930123", "secret", expires=3600)
HOP = NextHop("carrier.example")


class OneWay:
    """A server at an address; over UDP, or by a connection that can break."""

    def __init__(self, wire: Wire, address: str) -> None:
        self.address = address
        self.is_open = True
        self._wire = wire

    def open(self) -> Flow | None:
        return self._wire.flow((self.address, 5060)) if self.is_open else None

    def __str__(self) -> str:
        return f"{self.address}:5060 over UDP"


class FarServer:
    """A registrar that grants what is asked for; or answers ``status`` (0: nothing), or these octets."""

    def __init__(self, network: Network, clock: Clock, address: str) -> None:
        self.status = 200
        self.lines = ""
        self.times: list[float] = []
        self.expires: list[str] = []
        self.call_ids: list[str] = []
        self.octets: list[bytes] = []
        """All that has come, keep-alives included."""
        self.wire = network.wire(address)
        self._transactions = Transactions(Ids("far", Random(address)))
        self._driver = self.wire.driver = Driver(clock, self._transactions, self, Logger())
        self._driver.taps.append(lambda direction, data, *_: self.octets.append(data) if direction == "received" else None)

    def arrived(self, request: Request, flow: Flow) -> None:
        self.times.append(self._driver.now())
        expires = request.first("expires") or ""
        self.expires.append(expires)
        self.call_ids.append(request.call_id)
        contact = build.lines(("Contact", f"{request.first('contact')};expires={expires}")) if expires != "0" else ""
        if self.status:
            extra = (contact if self.status == 200 else "") + self.lines
            self._driver.carry_out(self._transactions.respond_stateless(request, flow, self.status, extra=extra))

    def broke(self, user: Any, failure: Any) -> None:
        failure.raiseException()

    @property
    def keep_alives(self) -> int:
        return self.octets.count(b"\r\n\r\n")


class UserAgentTests(SynchronousTestCase):
    """A user agent on a network in memory, with a registrar of three servers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.01)
        self.wire = self.network.wire("192.0.2.1")
        self.transactions = Transactions(Ids("w", Random(1)))
        self.driver = self.wire.driver = Driver(self.clock, self.transactions, self, Logger())
        self.addresses = ["203.0.113.1", "203.0.113.2"]
        self.lookups: list[float] = []
        self.slow: Deferred[None] | None = None
        self.error: Exception | None = None
        self.made: dict[str, OneWay] = {}
        self.told: list[Any] = []
        self.jitter = 0.0
        self.agent = UserAgent(self.driver, Ids("w", Random(2)), self.ways, lambda: self.jitter)
        self.far = [FarServer(self.network, self.clock, f"203.0.113.{number}") for number in (1, 2, 3)]

    async def ways(self, hop: NextHop) -> Sequence[OneWay]:
        self.lookups.append(self.clock.seconds())
        if self.slow is not None:
            await self.slow
        if self.error is not None:
            raise self.error
        if not self.addresses:
            raise NoWay(f"{hop} has no address")
        return [self.made.setdefault(address, OneWay(self.wire, address)) for address in self.addresses]

    def arrived(self, request: Request, flow: Flow) -> None:
        raise AssertionError(f"nobody asks us: {request}")

    def broke(self, user: Any, failure: Any) -> None:
        failure.raiseException()

    # What the enrolment tells

    def registered(self, event: Registered) -> None:
        self.told.append(("registered", event.first))

    def registration_failed(self, event: RegistrationFailed) -> None:
        self.told.append(("failed", event.status, event.reason))

    def unregistered(self) -> None:
        self.told.append("unregistered")

    def addresses_changed(self) -> None:
        self.told.append("addresses")

    def start(self, account: Account = ACCOUNT, run: float = 1.0) -> Enrolment:
        self.enrolment = self.agent.register(account, HOP, self)
        run_for(self.clock, run)
        return self.enrolment

    def forget(self) -> None:
        """Have the next things alone in mind."""
        self.told.clear()
        for far in self.far:
            far.times.clear()
        self.lookups.clear()

    # Time

    def test_refresh(self) -> None:
        """Ten minutes before the end, up to a tenth earlier by chance, each time with a lookup of its own."""
        self.start()
        for jitter in (0.0, 0.5, 0.999):
            self.forget()
            self.jitter = jitter
            self.enrolment.start()
            run_for(self.clock, 1.0)
            [asked] = self.far[0].times
            run_for(self.clock, 3001.0)
            self.assertEqual(len(self.lookups), 2)
            self.assertLess(abs(self.far[0].times[1] - asked - 3000.0 * (1.0 - 0.1 * jitter)), 0.2)
            self.assertEqual(self.told, 2 * [("registered", False)])

    def test_back_off(self) -> None:
        """After failures it waits longer and longer, from 30 s to ten minutes, each cut by up to a half (RFC 5626 §4.5)."""
        self.addresses = self.addresses[:1]
        self.far[0].status = 500
        for jitter, share in ((0.999, 1.0), (0.0, 0.5)):
            self.forget()
            self.jitter = jitter
            enrolment = self.start(run=4000.0)
            waits = [after - before for before, after in pairwise(self.far[0].times)]
            for wait, whole in zip(waits, (30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0), strict=False):
                self.assertLess(abs(wait - whole * share), 1.0)
            self.assertGreaterEqual(len(waits), 6)
            enrolment.stop()
            run_for(self.clock, 40.0)

    def test_retry_after(self) -> None:
        """It never comes back sooner than it was asked to (RFC 3261 §20.33)."""
        self.addresses = self.addresses[:1]
        self.far[0].status, self.far[0].lines = 503, "Retry-After: 900\r\n"
        self.start(run=899.0)
        self.assertEqual(len(self.far[0].times), 1)
        run_for(self.clock, 2.0)
        self.assertEqual(len(self.far[0].times), 2)

    def test_seldom(self) -> None:
        """What waiting does not mend is tried again in five to ten minutes."""
        self.far[0].status = 403
        self.start(run=295.0)
        self.assertEqual(len(self.far[0].times), 1)
        self.assertEqual(self.told[-1], ("failed", 403, "Forbidden"))

    # Servers

    def test_503(self) -> None:
        """At 503 the next server is asked at once, and it stays the one while it serves; nobody hears of a failure."""
        self.far[0].status = 503
        self.start()
        self.assertEqual((len(self.far[0].times), len(self.far[1].times)), (1, 1))
        self.assertEqual(self.told, ["addresses", ("registered", True)])
        self.assertEqual((self.enrolment.server, self.enrolment.asked), 2 * (str(self.made["203.0.113.2"]),))
        self.far[0].status = 200
        run_for(self.clock, 9100.0)
        self.assertEqual((len(self.far[0].times), len(self.far[1].times)), (1, 4))

    def test_silence(self) -> None:
        """A server that says nothing for 64*T1 is followed by the next one."""
        self.far[0].status = 0
        self.start(run=31.9)
        self.assertEqual(self.far[1].times, [])
        run_for(self.clock, 1.0)
        self.assertTrue(self.enrolment.is_registered)

    def test_icmp(self) -> None:
        """A port where nobody listens: the next server at once."""
        self.network.refuse = True
        self.addresses = ["203.0.113.9", "203.0.113.2"]
        self.start()
        self.assertTrue(self.enrolment.is_registered)

    def test_cannot_be_opened(self) -> None:
        """A server to which there is no way is passed over; if that is all of them, it waits and says so."""
        self.start()
        self.enrolment.stop()
        run_for(self.clock, 1.0)
        self.forget()
        self.made["203.0.113.1"].is_open = False
        self.start()
        self.assertEqual(self.enrolment.server, str(self.made["203.0.113.2"]))
        self.made["203.0.113.2"].is_open = False
        self.enrolment.start()
        run_for(self.clock, 1.0)
        self.assertEqual(self.told[-1], ("failed", 0, "no server of carrier.example can be reached"))
        self.assertTrue(self.enrolment.is_registered, "the registrar keeps us all the same")

    def test_all_fail(self) -> None:
        """When the last one has failed, that counts as one failure, with its words; the wait is the first one."""
        self.jitter = 0.999
        self.far[0].status = self.far[1].status = 503
        self.start()
        self.assertEqual(self.told, ["addresses", ("failed", 503, "Service Unavailable")])
        self.assertEqual(self.enrolment.state, State.WAITING)
        run_for(self.clock, 30.0)
        self.assertEqual((len(self.far[0].times), len(self.far[1].times)), (2, 2))

    def test_other_refusals_stay(self) -> None:
        """A 403 is an answer: no other server is asked."""
        self.far[0].status = 403
        self.start()
        self.assertEqual(self.far[1].times, [])

    def test_moves(self) -> None:
        """Another address in DNS: the next REGISTER goes there; the old one still counts for a day."""
        self.start()
        self.addresses = ["203.0.113.3"]
        run_for(self.clock, 3001.0)
        self.assertEqual((len(self.far[2].times), self.enrolment.server), (1, "203.0.113.3:5060 over UDP"))
        self.assertEqual(sorted(self.enrolment.addresses()), ["203.0.113.1", "203.0.113.2", "203.0.113.3"])
        run_for(self.clock, 86400.0)
        self.assertEqual(self.enrolment.addresses(), ["203.0.113.3"])

    def test_no_address(self) -> None:
        """A name that cannot be found: it waits, and says so."""
        self.addresses = []
        self.start()
        self.assertEqual(self.told, [("failed", 0, "carrier.example has no address")])
        self.assertEqual((self.enrolment.asked, self.enrolment.flow), ("", None))
        self.addresses = ["203.0.113.1"]
        run_for(self.clock, 30.0)
        self.assertTrue(self.enrolment.is_registered)

    def test_dead_dns(self) -> None:
        """While it is registered a dead DNS does not matter: the server that has us is asked."""
        self.start()
        self.addresses = []
        run_for(self.clock, 3001.0)
        self.assertEqual((len(self.far[0].times), self.told[-1]), (2, ("registered", False)))

    def test_broken_lookup(self) -> None:
        """A lookup that breaks is a failure like any other."""
        self.error = RuntimeError("a bug")
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.error = None
        run_for(self.clock, 30.0)
        self.assertTrue(self.enrolment.is_registered)

    def test_registered_first(self) -> None:
        """Calls go first to the server that has us, as long as it has."""
        self.far[0].status = 503
        self.start()
        ways = [self.made[address] for address in self.addresses]
        self.assertEqual([way.address for way in self.agent.registered_first(HOP, ways)], ["203.0.113.2", "203.0.113.1"])
        self.assertEqual(self.agent.registered_first(NextHop("other.example"), ways), ways)
        self.enrolment.stop()
        run_for(self.clock, 1.0)
        self.assertEqual(self.agent.registered_first(HOP, ways), ways)

    # Connections

    def test_lost_connection(self) -> None:
        """A connection that is gone can bring no call: it registers anew at once (RFC 5626 §4.4)."""
        self.start()
        flow = self.enrolment.flow
        assert flow is not None
        self.driver.flow_lost(flow)
        run_for(self.clock, 1.0)
        # A flow over UDP cannot be opened anew as a connection can, so it is the other server's turn.
        self.assertEqual(([len(far.times) for far in self.far], self.told[-1]), ([1, 1, 0], ("registered", False)))
        self.driver.flow_lost(self.wire.flow(("203.0.113.3", 5060)))
        run_for(self.clock, 1.0)
        self.assertEqual([len(far.times) for far in self.far], [1, 1, 0])

    def test_keep_alives(self) -> None:
        """While it is registered, an empty message every 25 s at most keeps the way open (RFC 5626 §3.5.1); afterwards none."""
        self.start(run=300.0)
        self.assertTrue(12 <= self.far[0].keep_alives <= 16, self.far[0].keep_alives)
        self.enrolment.stop()
        run_for(self.clock, 1.0)
        before = self.far[0].keep_alives
        run_for(self.clock, 300.0)
        self.assertEqual(self.far[0].keep_alives, before)

    # The end

    def test_stop(self) -> None:
        """It unregisters, and nothing is left of it."""
        self.start()
        self.assertEqual(self.agent.sizes(), {"registered_accounts": 1})
        stopped = self.enrolment.stop()
        self.assertNoResult(stopped)
        run_for(self.clock, 1.0)
        self.successResultOf(stopped)
        self.assertEqual((self.far[0].expires, self.told[-1]), (["3600", "0"], "unregistered"))
        self.assertEqual((self.agent.sizes(), self.enrolment.flow), ({"registered_accounts": 0}, None))
        run_for(self.clock, 64.0)
        self.assertEqual((self.clock.getDelayedCalls(), self.driver.sizes()["standing_timers"]), ([], 0))

    def test_stop_in_silence(self) -> None:
        """A registrar that says nothing is not waited for longer than `GOODBYE`."""
        self.start()
        self.far[0].status = 0
        stopped = self.enrolment.stop()
        run_for(self.clock, GOODBYE - 0.1)
        self.assertNoResult(stopped)
        run_for(self.clock, 0.2)
        self.successResultOf(stopped)

    def test_stop_while_looking(self) -> None:
        """Stopped before the name is found: nothing is sent, whatever is found later."""
        self.slow = Deferred()
        self.start()
        self.successResultOf(self.enrolment.stop())
        self.assertEqual(self.told, ["unregistered"])
        run_for(self.clock, 100.0)
        self.assertEqual(self.far[0].times, [])

    def test_stop_while_waiting(self) -> None:
        """Stopped between two tries: there is nothing to be taken back."""
        self.far[0].status = 403
        self.start()
        self.successResultOf(self.enrolment.stop())
        run_for(self.clock, 1000.0)
        self.assertEqual(len(self.far[0].times), 1)

    def test_stop_twice(self) -> None:
        """Who stops it a second time waits for the same end; after it there is nothing to wait for."""
        self.start()
        first, second = self.enrolment.stop(), self.enrolment.stop()
        self.assertIs(first, second)
        run_for(self.clock, 1.0)
        self.successResultOf(first)
        self.successResultOf(self.enrolment.stop())

    def test_stop_and_start(self) -> None:
        """Wanted again before it is taken back: it is taken back, and made anew."""
        self.start()
        stopped = self.enrolment.stop()
        self.enrolment.start()
        run_for(self.clock, 1.0)
        self.successResultOf(stopped)
        self.assertEqual(self.far[0].expires, ["3600", "0", "3600"])
        self.assertTrue(self.enrolment.is_registered)
        self.assertEqual(self.agent.sizes(), {"registered_accounts": 1})

    def test_stop_at_503(self) -> None:
        """No other server is asked for what is not wanted any more."""
        self.start(run=0.015)
        self.far[0].status = 503
        self.enrolment.stop()
        run_for(self.clock, 5.0)
        self.assertEqual(self.far[1].times, [])

    # What breaks the grammar

    def test_control_characters(self) -> None:
        """A challenge that our answer must not repeat: it waits, tells why, and does not meet it again afterwards."""
        self.far[0].status, self.far[0].lines = 401, 'WWW-Authenticate: Digest realm="a\x07b", nonce="c", qop="auth"\r\n'
        self.start()
        self.assertEqual(self.told[-1][:2], ("failed", 401))
        self.assertIn("a challenge that cannot be understood", self.told[-1][2])
        self.assertEqual(self.enrolment.state, State.WAITING)
        self.far[0].status, self.far[0].lines = 200, ""
        run_for(self.clock, 601.0)
        self.assertTrue(self.enrolment.is_registered)

    def test_chance(self) -> None:
        """Whatever stands in a response, the account is tried again, and the driver is not hurt."""
        chance = Random(7)
        self.addresses = self.addresses[:1]
        letters = [*'Digest realm="x",nonce=qop;<>\\ \t\x00\x07é,=MD5 stale 0123456789', "\udc80"]
        names = ("WWW-Authenticate", "Proxy-Authenticate", "Contact", "Expires", "Min-Expires", "Service-Route", "Retry-After", "Path")
        enrolment = self.start()
        far = self.far[0]

        def garbled(request: Request, flow: Flow) -> None:
            far.times.append(self.clock.seconds())
            lines = b""
            for _ in range(chance.randrange(4)):
                begin = chance.choice(('Digest realm="a", nonce="b", ', "<sip:", "", "Digest "))
                text = begin + "".join(chance.choices(letters, k=chance.randrange(30)))
                lines += f"{chance.choice(names)}: {text}\r\n".encode("utf-8", "surrogateescape")
            status = chance.choice((200, 401, 407, 423, 503, 600))
            data = build.response(request, status, to_tag="far")
            far.wire.flow(("192.0.2.1", 5060)).write(data.replace(b"Content-Length", lines + b"Content-Length", 1))

        far.arrived = garbled  # type: ignore[method-assign]
        for _ in range(300):
            enrolment.start()
            run_for(self.clock, 33.0)
        self.assertGreater(len(far.times), 299)
        del far.arrived
        run_for(self.clock, 601.0)
        enrolment.start()
        run_for(self.clock, 33.0)
        self.assertTrue(enrolment.is_registered)
        self.assertEqual(self.driver.failures, {})
