"""
The composition root: settings and a reactor in, one service out. Nothing else puts the pieces together.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import secrets as randomness
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import MultiService
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool

from pbx.call.b2bua import B2bua
from pbx.call.driving import NoWay
from pbx.call.exchange import Exchange, Rules
from pbx.call.location import Location
from pbx.call.peer import NextHop
from pbx.call.probing import Prober
from pbx.call.record import closed_as_restart
from pbx.call.user_agent import UserAgent
from pbx.config import ConfigurationError, Loaded
from pbx.core_settings import resolver_address
from pbx.dns_watch import DnsWatch
from pbx.dnscheck import checker
from pbx.generation import Generation
from pbx.huge_pages import collapse
from pbx.log import Log, call_log, set_level
from pbx.media.plane import start as start_media
from pbx.media.tones import RINGBACK
from pbx.net.address import Addresses
from pbx.net.driver import Driver
from pbx.net.guard import Guard
from pbx.net.listen import parse_listens
from pbx.net.randomness import SystemChance
from pbx.net.resolver import Resolver
from pbx.net.timers import keep_monotonic_time
from pbx.net.tls import TlsError
from pbx.net.transports import NoTransport, Transports
from pbx.reload import OnHangUp, Reloads
from pbx.sip.digest import Challenger
from pbx.sip.gate import Caps
from pbx.sip.ids import Ids
from pbx.sip.invite_session import Stack
from pbx.sip.timing import Timing
from pbx.sip.transactions import Transactions
from pbx.store import Secrets, SqliteStore, StoreError
from pbx.trace import MessageLog
from pbx.watchdog import Watchdog
from pbx.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pbx.call.driving import Way
    from pbx.config import Configuration
    from pbx.dnscheck import DnsCheck
    from pbx.sip.flow import Flow
    from pbx.sip.ids import Randomness

log = Log(namespace="pbx")

GRACE = 5.0
"""Seconds that calls get to say good-bye when the server stops."""


class SecretKeeper(Protocol):
    """`pbx.store.Secrets`."""

    def password(self, name: str) -> tuple[str, bool]: ...

    def key(self, name: str) -> bytes: ...


@dataclass(frozen=True)
class Parts:
    """
    What the service stands on, and what a test replaces: everything that touches the world outside.

    Attributes:
        reactor: Time, threads, listening.
        wall: Seconds of Unix time.
        randomness: For identifiers.
        instance: The id of this process; it begins every identifier.
        state_folder: Of what must outlive the process.
        secrets: Gives generated passwords and keys.
        store: Provides `pbx.interfaces.IStore`.
        media: Provides `pbx.interfaces.IMediaPlane`.
        close_media: Closes the media ports.
        transports: Makes the sockets, given the driver and the addresses.
        resolver: Finds the servers of a domain: `pbx.net.resolver.Resolver`.
        in_thread: Runs a function outside the loop; gives a Deferred of its result.
        watches: Whether the watchdog runs; a test in virtual time has no loop to watch.
    """

    reactor: Any
    wall: Callable[[], float]
    randomness: Randomness
    instance: str
    state_folder: Path
    secrets: SecretKeeper
    store: Any
    media: Any
    close_media: Callable[[], None]
    transports: Callable[[Driver, Addresses], Any]
    resolver: Any
    in_thread: Callable[..., Deferred[Any]]
    watches: bool = True


def real_parts(loaded: Loaded, reactor: Any) -> Parts:
    """The parts of a server that runs."""
    raise_descriptor_limit()
    settings = loaded.configuration
    state_folder = Path(settings.store.path).absolute()
    plane, loop, ports = start_media(reactor, settings.media, Log(namespace="pbx.media"))

    def close_media() -> None:
        ports.close()
        loop.stop()

    def transports(driver: Driver, addresses: Addresses) -> Transports:
        names = [settings.sip.domain] if settings.sip.domain else []
        listens = parse_listens(list(settings.sip.listen))
        ca = Path(settings.sip.client_ca) if settings.sip.client_ca else None
        caps = _caps(settings.sip.caps)
        return Transports(reactor, driver, addresses, listens, caps=caps, names=names, keys=state_folder, ca=ca)

    udp_families = {6 if ":" in one.interface else 4 for one in parse_listens(list(settings.sip.listen)) if one.transport == "udp"}
    servers = [resolver_address(one) for one in settings.dns.servers]
    return Parts(
        reactor=reactor,
        wall=time.time,
        randomness=SystemChance(),
        instance=randomness.token_hex(3),
        state_folder=state_folder,
        secrets=Secrets(state_folder),
        store=SqliteStore(state_folder, reactor, keep_records=settings.store.keep_records),
        media=plane,
        close_media=close_media,
        transports=transports,
        resolver=Resolver(reactor, servers, settings.dns.timeout, Log(namespace="pbx.dns"), udp_families=udp_families),
        in_thread=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
    )


class PbxService(MultiService):
    """
    The server: everything that the process has, and one exchange.

    Attributes:
        loaded: The configuration that runs, and its plugins.
        exchange: The tenant.
        ready: Fires when what the last process left has been read and calls are served.
        failed: Whether the start came to nothing.
    """

    def __init__(self, loaded: Loaded, parts: Parts) -> None:
        super().__init__()
        self.setName("pbx")
        self.loaded = loaded
        self.reactor = reactor = parts.reactor
        settings = loaded.configuration
        self.state_folder = parts.state_folder
        self.secrets = parts.secrets
        self.store = parts.store
        self.media = parts.media
        self.close_media = parts.close_media
        self.wall = parts.wall
        self.in_thread = parts.in_thread
        ids = Ids(parts.instance, parts.randomness)
        self.transactions = Transactions(ids, Timing(), caps=_caps(settings.sip.caps))
        self.guard = Guard(log=Log(namespace="pbx.guard"), spared=self._is_spared, **dict(settings.guard))
        self.driver = Driver(reactor, self.transactions, _NotReady(), Log(namespace="pbx.driver"), self.guard)
        self.addresses = Addresses(settings.sip.advertise, settings.sip.local_networks or None)
        self.transports = parts.transports(self.driver, self.addresses)
        self.resolver = parts.resolver
        self.ways = Ways(self.resolver, self.transports.flow, log)
        self.exchange = Exchange(
            rules=rules_of(settings),
            driver=self.driver,
            stack=Stack(self.transactions, settings.sip.session_timer),
            media=self.media,
            store=self.store,
            clock=reactor,
            wall=parts.wall,
            reach=self._reach,
            ways=self._ways_of_calls,
            ringback=RINGBACK,
            is_ours=self._is_ours,
            call_log=call_log,
            log=log,
        )
        self.user_agent = UserAgent(self.driver, ids, self.ways, lambda: parts.randomness.getrandbits(32) / 2**32)
        self.prober = Prober(self.driver, ids, self.ways, reactor)
        self.location = Location(self.exchange.directory, self.store, reactor, parts.wall)
        self.exchange.location = self.location
        self._dns_check = checker(reactor, settings.dns, settings.language)
        self.dns_watch = DnsWatch(reactor, self._carrier_hosts, self.dns_check, SystemChance().random, Log(namespace="pbx.dns"))
        self.messages = MessageLog(self.driver)
        self.watches = parts.watches
        self.observers: list[tuple[str, Any]] = []
        """Who is told of calls besides the plugins; to be added before the start."""
        self.generation: Generation
        self.reloads = Reloads(self)
        self.ready: Deferred[None] = Deferred()
        self.watchdog: Watchdog | None = None
        self.started_at = 0.0
        self.kept: dict[str, dict[str, Any]] = {}  # what a generation of a plugin leaves to the next
        self.failed = False

    # Starting

    def privilegedStartService(self) -> None:
        """
        Bind the sockets and make the plugins.

        Raises:
            SystemExit: With a sentence: a port is taken, the state folder cannot be written, a plugin does not come up.
        """
        self.started_at = self.reactor.seconds()
        settings = self.loaded.configuration
        try:
            key = self.secrets.key("nonce")
            self.challenger = Challenger(key, settings.realm, settings.sip.digest)
            self.generation = Generation.of(self.loaded, self)
            self.transports.start()
        except CannotListenError as error:
            raise SystemExit(
                f"pbx: cannot listen on port {error.port} of {error.interface or 'all addresses'}: {error.socketError}; "
                "end the program that has it, or change [sip] listen"
            ) from None
        except (StoreError, ConfigurationError, TlsError, OSError) as error:
            raise SystemExit(f"pbx: {error}") from None
        super().privilegedStartService()

    def startService(self) -> None:
        """Read what the last process has left, then serve."""
        super().startService()
        self.generation.begin(self)
        self.b2bua = B2bua(self.exchange, self.challenger, self.guard, log)
        started = Deferred.fromCoroutine(self._start())
        started.addErrback(self._cannot_start)

    async def _start(self) -> None:
        await self.store.open()
        rows = await self.store.load_bindings()
        restored = self.location.restore(rows, self._flow_again)
        await self._close_cut_calls()
        self.driver.core = self.b2bua
        driver = self.driver
        self.watchdog = Watchdog(self.reactor, self._shed, self.transports.own_udp, times_behind=lambda: driver.times_behind)
        if self.watches:
            self.watchdog.setServiceParent(self)
            self.dns_watch.setServiceParent(self)
        for line in self._welcome(restored):
            log.info("{line}", line=line)
        self.watchdog.supervisor.say("READY=1")
        self.ready.callback(None)

    async def _close_cut_calls(self) -> None:
        """Those that were on when the last process died. All at once: each would wait for company, and we for hundreds of them in turn."""
        cut = await self.store.unfinished_records()
        written = [self.store.finish_record(call_id, closed_as_restart(record)) for call_id, record in cut]
        try:
            await gatherResults(written, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    def _cannot_start(self, failure: Any) -> None:
        if isinstance(failure.value, StoreError | OSError):
            sentence = failure.getErrorMessage()
            log.critical("cannot start: {why}", why=sentence)
            print(f"pbx: cannot start: {sentence}", file=sys.stderr)  # noqa: T201  # the operator is at the prompt
        else:
            log.failure("cannot start", failure)
        self.failed = True
        self.reactor.stop()

    def _welcome(self, restored: int) -> list[str]:
        settings = self.loaded.configuration
        numbers = ", ".join(sorted(self.exchange.directory)) or "none"
        lines = [
            f"listening on {', '.join(settings.sip.listen)}; ready after {self.reactor.seconds() - self.started_at:.2f} s",
            f"extensions: {numbers}; {restored} devices still registered",
        ]
        if settings.shell.listen:
            lines.append(f"shell: {self.shell_command}")
        if settings.http.listen:
            names = ", ".join(token.partition(":")[0] for token in settings.http.tokens)
            lines.append(f"http: {settings.http.listen}, for {names}")
        return lines

    @property
    def shell_command(self) -> str:
        """How the shell is reached."""
        from pbx.shell import ssh_command

        return str(ssh_command(self.loaded.configuration.shell, self.state_folder))

    # Stopping

    def stopService(self) -> Deferred[None]:
        """Say good-bye to every call, write what is to be written, close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.running = False
        if hasattr(self, "b2bua"):
            self.b2bua.refusing = "shutting down"
            idle = self.exchange.shut_down("the exchange is shutting down")
            idle.addTimeout(GRACE, self.reactor, onTimeoutCancel=lambda *_: None)
            await idle
        for _, instance in self.generation.running():
            await maybeDeferred(instance.stopService)
        await maybeDeferred(super().stopService)
        self.prober.stop()
        self.location.stop()
        self.driver.stop()
        self.transports.stop()
        self.close_media()
        await self.store.close()

    def take(self, settings: Configuration, before: Configuration) -> None:
        """Put into force what of a configuration that was read again is no plugin's and does not wait for the next start."""
        set_level(settings.log.level)
        if settings.guard != before.guard:
            self.guard.configure(**dict(settings.guard))
        if settings.dns != before.dns:  # it forgets what it knows, which may be all there is while DNS is dead
            self.resolver.configure([resolver_address(one) for one in settings.dns.servers], settings.dns.timeout)
        self._dns_check = checker(self.reactor, settings.dns, settings.language)

    def dns_check(self, name: str, references: Sequence[str] = ()) -> Coroutine[Any, Any, DnsCheck]:
        """Do the resolvers agree on ``name``?"""
        return self._dns_check(name, references)

    # What the pieces ask

    def _is_spared(self, address: str) -> bool:
        """Whether the guard must not ban this address: devices of ours are there, or a peer we trust."""
        if self.location.is_bound(address):
            return True
        return any(is_spared(address) for handle in self.generation.handles.values() for is_spared in handle.spared)

    def refusing(self) -> str:
        """Why no new calls are taken; "" when they are."""
        return self.b2bua.refusing if self.ready.called else "starting"

    def _is_ours(self, host: str) -> bool:
        return host in self.addresses.own or host == "localhost" or not self.loaded.configuration.sip.domain

    async def _reach(self, address: tuple[str, int, str]) -> Flow | None:
        host, port, transport = address
        if isIPAddress(host) or isIPv6Address(host):
            return self._flow(transport, host, port)
        try:
            ways = await self.ways(NextHop(host, port, transport))
        except NoWay as error:
            log.warn("{host} has no address: {why}", host=host, why=str(error))
            return None
        return next((flow for way in ways if (flow := way.open()) is not None), None)

    async def _ways_of_calls(self, hop: NextHop, *, large: bool = False) -> Sequence[Way]:
        """The servers of a next hop: first where we are registered, last those that are known to be down."""
        return self.prober.living_first(self.user_agent.registered_first(hop, await self.ways(hop, large=large)))

    def _carrier_hosts(self) -> set[str]:
        """Of all lines and trunks, for the watch over the DNS."""
        return {hop.host for carrier in self.exchange.dial_plan for hop in carrier.hops}

    def _shed(self, reason: str) -> None:
        """Refuse new calls for ``reason``, or with "" take them again, unless they are refused for good."""
        if self.running:
            self.b2bua.refusing = reason

    def _flow_again(self, key: str) -> Flow | None:
        """The way that a flow's key names, after a restart: a UDP address can be reached again, a connection cannot."""
        transport, _, rest = key.partition(" ")
        if transport != "UDP":
            return None
        host, _, port = rest.rpartition(" ")[2].rpartition(":")
        return self._flow("UDP", host.strip("[]"), int(port))

    def _flow(self, transport: str, host: str, port: int) -> Flow | None:
        try:
            flow: Flow = self.transports.flow(transport, host, port)
        except (NoTransport, OSError, ValueError) as error:
            log.warn("no way to {host}:{port} over {transport}: {why}", host=host, port=port, transport=transport, why=str(error))
            return None
        return flow


class _NotReady:
    """The core until the store has been read: whoever comes too early repeats itself."""

    def arrived(self, request: Any, flow: Any) -> None:
        pass

    def broke(self, user: Any, failure: Any) -> None:
        log.failure("{user} broke", failure, user=user)


def make(loaded: Loaded, reactor: Any) -> PbxService:
    """The service of ``twistd pbx``."""
    keep_monotonic_time(reactor)
    service = PbxService(loaded, real_parts(loaded, reactor))
    if loaded.configuration.shell.listen:
        from pbx.shell import ShellService

        ShellService(service).setServiceParent(service)
    if loaded.configuration.http.listen:
        from pbx.http.service import HttpService

        HttpService(service, reactor).setServiceParent(service)
    OnHangUp(service).setServiceParent(service)
    atexit.register(_exit_status, service)
    service.ready.addCallback(_settle_memory)
    return service


def _exit_status(service: PbxService) -> None:
    """twistd ends with 0 whenever its reactor was stopped; whoever supervises us must see that we did not start."""
    if service.failed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _settle_memory(_: None) -> None:
    """What is there after the start stays: the collector of cycles need not look at it again, nor at every few calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
    collapse()


def raise_descriptor_limit() -> None:
    """Take all the descriptors that we may have: an audio call needs four sockets, and 1024 is soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def rules_of(settings: Any) -> Rules:
    """What of the configuration the calls of an exchange need."""
    return Rules(
        domain=settings.sip.domain,
        language=settings.language,
        ring_timeout=settings.routing.ring_timeout,
        patience=settings.routing.patience,
        levels=settings.routing.levels,
        rewrite_caller={prefix: (rule.strip, rule.prepend) for prefix, rule in settings.routing.rewrite.caller.items()},
        rewrite_called={prefix: (rule.strip, rule.prepend) for prefix, rule in settings.routing.rewrite.called.items()},
        media_address=settings.media.address,
    )


def _caps(settings: Any) -> Caps:
    return Caps(**{name: getattr(settings, name) for name in type(settings).model_fields if name in Caps.__dataclass_fields__})
