"""The handle that each plugin gets: `pbx.interfaces.IPbx`, and nothing more of the exchange than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import serverFromString
from zope.interface import implementer

from pbx.interfaces import ILocationService, IPbx, IStore
from pbx.log import Log

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pbx.call.call import Call
    from pbx.call.dial_plan import Carrier, DialPlan
    from pbx.call.exchange import Exchange
    from pbx.call.peer import Peer
    from pbx.call.probing import Prober
    from pbx.call.user_agent import UserAgent
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
        self.expected: list[tuple[str, str]] = []
        """Numbers that must exist, and the settings that name them."""
        self.spared: list[Callable[[str], bool]] = []
        """Say of an address whether it is never banned."""
        self.warnings: Mapping[str, str] = exchange.warnings
        self.state_folder = state_folder
        self.show = show
        self.peers: dict[str, Peer] = {}
        """What the plugin has enlisted."""
        self._exchange = exchange
        self._extensions = extensions
        self._reactor = reactor
        self.in_thread = in_thread
        self._secrets = secrets

    def local_date(self) -> date:
        return datetime.fromtimestamp(self._exchange.wall()).astimezone().date()

    def local_time(self) -> time:
        return datetime.fromtimestamp(self._exchange.wall()).astimezone().time()

    def originate(self, first: str, second: str, caller: str | None = None) -> Call:
        return self._exchange.originate(first, second, caller)

    def listen(self, description: str, factory: Any) -> Deferred[Any]:
        endpoint: Any = serverFromString(self._reactor, description)  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        listening: Deferred[Any] = endpoint.listen(factory)
        return listening

    def secret(self, name: str) -> tuple[str, bool]:
        return self._secrets.password(name)

    def enlist(self, peers: Mapping[str, Peer]) -> None:
        self.peers.update(peers)

    def carry(self, carriers: Sequence[Carrier]) -> None:
        self.carriers += carriers

    def expect_number(self, number: str, setting: str) -> None:
        self.expected.append((number, setting))

    def spare(self, is_spared: Callable[[str], bool]) -> None:
        self.spared.append(is_spared)

    def extensions(self) -> Mapping[str, Settings]:
        return self._extensions
