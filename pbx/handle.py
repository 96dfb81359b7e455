"""The handle that each plugin gets: `pbx.interfaces.IPbx`, and nothing more of the exchange than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import serverFromString
from zope.interface import implementer

from pbx.call.peer import Kind, Peer
from pbx.interfaces import ILocationService, IPbx, IStore
from pbx.log import Log

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pbx.call.call import Call
    from pbx.call.dial_plan import Carrier, DialPlan
    from pbx.call.diversion import Diverting
    from pbx.call.exchange import Exchange
    from pbx.call.probing import Prober
    from pbx.call.user_agent import UserAgent
    from pbx.call.verdict import Verdict
    from pbx.service import SecretKeeper
    from pbx.settings import Settings


@implementer(IPbx)
class Handle:
    """What one plugin sees of its exchange; see `IPbx` for each member."""

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        *,
        reactor: Any,
        in_thread: Callable[..., Deferred[Any]],
        secrets: SecretKeeper,
        state_folder: Path,
        realm: str,
        relay: str,
        outside_prefix: str,
        extensions: Mapping[str, Settings],
        user_agent: UserAgent,
        prober: Prober,
        resolver: Any,
        show: Callable[[str], None],
        refusing: Callable[[], str],
        kept: dict[str, Any],
    ) -> None:
        self.clock = reactor
        self.calls: Mapping[str, Call] = exchange.calls
        self.location: ILocationService = exchange.location
        self.store: IStore = exchange.store
        self.log = Log(namespace=f"pbx.plugins.{name}")
        self.language = exchange.rules.language
        self.realm = realm
        self.relay = relay
        self.outside_prefix = outside_prefix
        self.user_agent = user_agent
        self.prober = prober
        self.resolver = resolver
        self.dial_plan: DialPlan = exchange.dial_plan
        self.carriers: list[Carrier] = []
        """What the plugin carries."""
        self.expected: list[tuple[str, str, bool]] = []
        """Numbers that must exist, the settings that name them, and whether they must be local."""
        self.spared: list[Callable[[str], bool]] = []
        """Say of an address whether it is never banned."""
        self.warnings: Mapping[str, str] = exchange.warnings
        self.diverting: Diverting | None = None
        """How the plugin wants diversions to be told."""
        self.state_folder = state_folder
        self.show = show
        self.peers: dict[str, Peer] = {}
        """What the plugin has enlisted."""
        self.refusing = refusing
        self.kept = kept
        self._name = name
        self._exchange = exchange
        self._extensions = extensions
        self._reactor = reactor
        self.in_thread = in_thread
        self._secrets = secrets

    def local_date(self) -> date:
        return datetime.fromtimestamp(self._exchange.wall()).astimezone().date()

    def local_time(self) -> time:
        return datetime.fromtimestamp(self._exchange.wall()).astimezone().time()

    def divert_as(self, diverting: Diverting) -> None:
        self.diverting = diverting

    def rehearse(self, called: str, *, caller: str = "", level: int | None = None) -> Deferred[Verdict]:
        peer = self._exchange.directory.get(caller) or Peer(Kind.EXTENSION, caller or self._name, level=None)
        if level is not None:
            peer = replace(peer, level=level)
        return self._exchange.sound_out(called, peer)

    def wall(self) -> float:
        return self._exchange.wall()

    def originate(
        self,
        first: str,
        second: str,
        caller: str | None = None,
        *,
        caller_for_second: str | None = None,
        level: int | None = None,
        lasts_at_most: float | None = None,
    ) -> Call:
        # The rights bear the name of the plugin: so it may stand in "allowed" of a line.
        rights = None if level is None else Peer(Kind.EXTENSION, self._name, level=level)
        return self._exchange.originate(
            first, second, caller, caller_for_second=caller_for_second, rights=rights, lasts_at_most=lasts_at_most
        )

    def listen(self, description: str, factory: Any) -> Deferred[Any]:
        endpoint: Any = serverFromString(self._reactor, description)  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        listening: Deferred[Any] = endpoint.listen(factory)
        return listening

    def listen_udp(self, port: int, protocol: Any, interface: str = "") -> Any:
        return self._reactor.listenUDP(port, protocol, interface)

    def secret(self, name: str) -> tuple[str, bool]:
        return self._secrets.password(name)

    def enlist(self, peers: Mapping[str, Peer]) -> None:
        self.peers.update(peers)

    def carry(self, carriers: Sequence[Carrier]) -> None:
        self.carriers += carriers

    def expect_number(self, number: str, setting: str, *, local: bool = True) -> None:
        self.expected.append((number, setting, local))

    def spare(self, is_spared: Callable[[str], bool]) -> None:
        self.spared.append(is_spared)

    def extensions(self) -> Mapping[str, Settings]:
        return self._extensions
