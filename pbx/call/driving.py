"""
What calls ask of the layers below, as they see it: whoever provides these can stand behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.build import Outgoing
    from pbx.sip.effects import Effect
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.sip.transactions import Transactions


class NoWay(Exception):
    """A next hop cannot be found: the text says why, as a sentence."""


class Way(Protocol):
    """One server of a next hop."""

    address: str
    """Its address, without brackets and port."""

    def open(self) -> Flow | None:
        """The way there; a connection is made if there is none. None: it cannot be had."""


class SipDriver(Protocol):
    """Runs the machines of the core: `pbx.net.driver.Driver`."""

    transactions: Transactions
    behind: int
    """How many sockets have datagrams that wait too long; while there is one, new calls are refused."""
    flow_watchers: list[Callable[[Flow], None]]
    """Told of each connection that is gone."""

    def now(self) -> float:
        """Seconds on the clock that all machines go by."""

    def carry_out(self, effects: list[Effect], /) -> None:
        """Carry out ``effects`` in order, after those that wait already. Never raises."""

    def request(self, outgoing: Outgoing, flow: Flow, user: Any, /) -> Any:
        """Send a request; ``user`` hears of the responses."""

    def serve(self, request: Request, flow: Flow, user: Any, /) -> Any:
        """Make a server transaction."""

    def respond(self, transaction: Any, status: int, data: bytes, /) -> None:
        """Send a response through its transaction."""


class Suspicion(Protocol):
    """Keeps account of who proves what: `pbx.net.guard.Guard`."""

    def proved(self, address: str, /) -> None:
        """A request from ``address`` has proved something."""

    def may_try(self, address: str, user: str, now: float, /) -> bool:
        """Whether credentials for ``user`` are looked at now."""

    def failed(self, address: str, user: str, why: str, now: float, /) -> None:
        """Note a wrong response to a nonce of ours that went to this very address."""
