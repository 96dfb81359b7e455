"""
Whether the servers of a carrier are there: OPTIONS at an interval (RFC 3261 §11), and a breaker for each server.

Any answer but 503 and 408 says that a server is there, also 401 or 404. What is down is asked less and less often, and one
answer brings it back. The names are looked up again and again, so it is also known which addresses are theirs.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from pbx.call.breaker import Breaker, CameUp, ProbeWanted, State, WentDown
from pbx.call.driving import NoWay
from pbx.log import Log
from pbx.sip import build
from pbx.sip.effects import Arm, Cause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from pbx.call.driving import SipDriver, Way
    from pbx.call.peer import NextHop
    from pbx.sip.effects import Effect
    from pbx.sip.ids import Ids
    from pbx.sip.message import Response

INTERVAL = 30.0
"""Seconds from one probe of a server that is up to the next, give or take a tenth."""
LOOKUP = 60.0
"""Seconds after which a name is looked up again; the resolver answers from memory for as long as it may."""
NOT_FOUND = 10.0
"""Seconds after which a name that led nowhere is looked up again."""
KEPT = 86400.0
"""Seconds for which an address that a name has stood for is still its own: names change, and connections and calls stay."""

_ACCEPT = build.lines(("Accept", "application/sdp"))
_log = Log(namespace="pbx.probing")


class Watcher(Protocol):
    """Who wants to know. Its methods may be called before `Prober.watch` has returned."""

    def addresses_changed(self) -> None:
        """`Watch.addresses` has other answers now."""

    def not_found(self, hop: NextHop, why: str) -> None:
        """A next hop leads nowhere; told once, until it is found again."""

    def went_down(self, server: Server, why: str) -> None:
        """A server does not serve any more."""

    def came_up(self, server: Server) -> None:
        """A server that was down has answered."""


class Server:
    """One server of a next hop: the user of its breaker and of its probes."""

    __slots__ = ("_probe", "_watch", "breaker", "hop", "name", "way")

    def __init__(self, watch: Watch, hop: NextHop, way: Way, breaker: Callable[[Server], Breaker]) -> None:
        self.hop = hop
        self.way = way
        self.name = str(way)
        """Address, port and transport in words."""
        self.breaker = breaker(self)
        self._watch = watch
        self._probe: Any = None

    @property
    def is_up(self) -> bool:
        """Whether calls may go there."""
        return self.breaker.state is State.UP

    def notified(self, event: ProbeWanted | WentDown | CameUp) -> None:
        """Told by the driver."""
        match event:
            case ProbeWanted():
                self._probe = self._watch.ask(self)
            case WentDown():
                self._watch.user.went_down(self, event.why)
            case CameUp():
                self._watch.user.came_up(self)

    def responded(self, transaction: Any, response: Response, now: float) -> list[Effect]:
        """An answer, late or not, to the probe that is on its way."""
        if transaction is not self._probe or response.status < 200:
            return []
        self._probe = None
        return self.breaker.answered(response.status, now)

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        """It could not be sent, or nobody has answered for 64*T1; after a response this says nothing new."""
        if transaction is not self._probe:
            return []
        self._probe = None
        return self.breaker.failed("no answer in 32 s" if cause is Cause.TIMEOUT else "it cannot be reached", now)

    def stop(self) -> list[Effect]:
        """Forget it; what is still on its way is nobody's business any more."""
        self._probe = None
        return self.breaker.stop()


class Watch:
    """
    The servers of one carrier, as they are now.

    Attributes:
        servers: By name, in the order in which calls try them.
        lost: The next hops that lead nowhere, and why.
    """

    def __init__(self, prober: Prober, hops: Sequence[NextHop], user: Watcher, interval: float) -> None:
        self.servers: dict[str, Server] = {}
        self.lost: dict[NextHop, str] = {}
        self.user = user
        self._prober = prober
        self._hops = tuple(hops)
        self._interval = interval
        self._known: dict[NextHop, dict[str, float]] = {}  # address to when it was found last
        self._of: dict[NextHop, list[Server]] = {}
        self._timers: dict[NextHop, IDelayedCall] = {}
        self._running = True
        for hop in self._hops:
            self._look_up(hop)

    @property
    def why_down(self) -> str:
        """Why no call can go there, in words; "" while one can, as far as is known."""
        if any(self._is_up(hop) for hop in self._hops):
            return ""
        dead = [f"{server.name}: {server.breaker.why}" for server in self.servers.values() if server.hop not in self.lost]
        return "; ".join([*self.lost.values(), *dead])

    @property
    def living(self) -> tuple[NextHop, ...]:
        """The next hops with a server that is up; all of them when there is none."""
        return tuple(hop for hop in self._hops if self._is_up(hop)) or self._hops

    def addresses(self, hop: NextHop) -> list[str]:
        """The addresses of a next hop's servers, now and in the last day."""
        return list(self._known.get(hop, ()))

    def stop(self) -> None:
        """Ask nobody any more."""
        self._running = False
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        for server in self.servers.values():
            self._prober.carry_out(server.stop())
        self._prober.forget(self)

    # For the servers

    def ask(self, server: Server) -> Any:
        """Send a probe; gives its transaction."""
        return self._prober.ask(server) if self._running else None

    # Inside

    def _is_up(self, hop: NextHop) -> bool:
        if hop in self.lost:
            return False
        servers = self._of.get(hop)
        return servers is None or any(server.is_up for server in servers)  # None: it is still being looked up

    def _look_up(self, hop: NextHop) -> None:
        asked = Deferred.fromCoroutine(self._found(hop))
        asked.addErrback(lambda failure: _log.failure("looking {hop} up broke", failure, hop=str(hop)))
        asked.addBoth(lambda _: self._look_up_later(hop))

    def _look_up_later(self, hop: NextHop) -> None:
        if self._running:
            self._timers[hop] = self._prober.clock.callLater(NOT_FOUND if hop in self.lost else LOOKUP, self._look_up, hop)

    async def _found(self, hop: NextHop) -> None:
        try:
            ways = await self._prober.ways(hop)
        except NoWay as error:
            if self._running:
                self._lost(hop, str(error))
            return
        if self._running:
            self._use(hop, ways)

    def _lost(self, hop: NextHop, why: str) -> None:
        is_new = hop not in self.lost
        self.lost[hop] = why
        if is_new:
            self.user.not_found(hop, why)
        self._know(hop, ())

    def _use(self, hop: NextHop, ways: Sequence[Way]) -> None:
        """Take these for the servers of ``hop``; those that are known keep their breakers."""
        self.lost.pop(hop, None)
        self._of[hop] = [self.servers.get(str(way)) or self._new(hop, way) for way in ways]
        used = {server.name: server for one in self._hops for server in self._of.get(one, ())}
        for server in self.servers.values():
            if server.name not in used:
                self._prober.carry_out(server.stop())
        self.servers = used
        self._know(hop, ways)

    def _know(self, hop: NextHop, ways: Sequence[Way]) -> None:
        """Note where ``hop`` is now, and forget where it was a day ago."""
        now = self._prober.now()
        before = self._known.get(hop, {})
        known = {address: seen for address, seen in before.items() if seen + KEPT > now} | {way.address: now for way in ways}
        self._known[hop] = known
        if known.keys() != before.keys():
            self.user.addresses_changed()

    def _new(self, hop: NextHop, way: Way) -> Server:
        server = Server(self, hop, way, self._prober.breaker(self._interval))
        if self._interval:
            self._prober.carry_out([Arm(server.breaker)])
        return server


class Prober:
    """
    Watches servers.

    Args:
        driver: Sends and keeps time.
        ids: Where branches, tags and Call-IDs come from.
        ways: Looks a next hop up; raises `pbx.call.driving.NoWay`.
        clock: Of the lookups.
    """

    def __init__(self, driver: SipDriver, ids: Ids, ways: Callable[..., Awaitable[Sequence[Way]]], clock: IReactorTime) -> None:
        self.ways = ways
        self.clock = clock
        self.now = driver.now
        self.carry_out = driver.carry_out
        self._driver = driver
        self._ids = ids
        self._jitter = Random(ids.tag()).random  # noqa: S311  # it only spreads the probes
        self._watches: list[Watch] = []

    def watch(self, hops: Sequence[NextHop], user: Watcher, *, interval: float = INTERVAL) -> Watch:
        """
        Watch the servers of ``hops`` from now on.

        Args:
            hops: A carrier's next hops, most wanted first.
            user: Is told what changes.
            interval: Seconds between probes; 0: they are looked up, and not asked.
        """
        watch = Watch(self, hops, user, interval)
        self._watches.append(watch)
        return watch

    def stop(self) -> None:
        """Ask nobody any more."""
        for watch in list(self._watches):
            watch.stop()

    def sizes(self) -> dict[str, int]:
        """How many servers are watched, for the shell."""
        return {"watched_servers": sum(len(watch.servers) for watch in self._watches)}

    def living_first(self, ways: Sequence[Way]) -> Sequence[Way]:
        """The same ways in the same order, but those to servers that are down, by whatever transport, at the end."""
        servers = [server for watch in self._watches for server in watch.servers.values()]
        down = {server.name: server.way.address for server in servers if not server.is_up}
        if not down:
            return ways
        dead = set(down.values()) - {server.way.address for server in servers if server.is_up}
        return sorted(ways, key=lambda way: str(way) in down or way.address in dead)

    # For watches

    def breaker(self, interval: float) -> Callable[[Server], Breaker]:
        """Makes the breaker of a server."""
        return lambda server: Breaker(server, interval, self._jitter, self.now())

    def forget(self, watch: Watch) -> None:
        """A watch has been stopped."""
        if watch in self._watches:
            self._watches.remove(watch)

    def ask(self, server: Server) -> Any:
        """Send OPTIONS; gives its transaction, or None: there is no way, and the breaker has been told."""
        flow = server.way.open()
        if flow is None or not flow.alive:
            self.carry_out(server.breaker.failed("it cannot be reached", self.now()))
            return None
        hop, ids = server.hop, self._ids
        host = f"[{hop.host}]" if ":" in hop.host else hop.host
        target = f"sip:{host}" if hop.port is None else f"sip:{host}:{hop.port}"
        outgoing = build.request(
            "OPTIONS",
            target,
            flow.via,
            ids.branch(),
            from_=f"<sip:{flow.sent_by}>;tag={ids.tag()}",
            to=f"<{target}>",
            call_id=ids.call_id(),
            cseq=ids.cseq(),
            extra=build.lines(("Contact", flow.contact(""))) + _ACCEPT,
        )
        return self._driver.request(outgoing, flow, server)
