"""The ways to a next hop: its servers as RFC 3263 finds them, each opened when its turn comes (`pbx.call.driving.Way`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pbx.call.driving import NoWay
from pbx.net.resolver import ResolutionError
from pbx.net.transports import NoTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pbx.call.peer import NextHop
    from pbx.net.resolver import Destination, Resolver
    from pbx.sip.flow import Flow


class Ways:
    """Looks next hops up."""

    def __init__(self, resolver: Resolver, open_flow: Callable[..., Flow], log: Any) -> None:
        """``open_flow(transport, host, port, name, ca)`` gives a flow, as `pbx.net.transports.Transports.flow`."""
        self._resolver = resolver
        self._open = open_flow
        self._log = log

    async def __call__(self, hop: NextHop, *, large: bool = False) -> list[OneWay]:
        """
        The servers of ``hop``, most wanted first.

        Args:
            hop: Whose.
            large: The request is larger than 1300 octets: each server that is to be had by UDP alone because nobody has
                chosen is first tried by TCP (RFC 3261 §18.1.1).

        Raises:
            NoWay: There is none.
        """
        try:
            found = await self._resolver.destinations(hop.host, hop.port, hop.transport)
        except ResolutionError as error:
            raise NoWay(str(error)) from None
        ways = []
        for one in found:
            if large and one.transport == "UDP" and not hop.transport:
                ways.append(OneWay(self, replace(one, transport="TCP"), hop.ca))
            ways.append(OneWay(self, one, hop.ca))
        return ways

    def open(self, to: Destination, ca: Path | None) -> Flow | None:
        """The flow to ``to``; None, and the log says why, when it cannot be had."""
        try:
            return self._open(to.transport, to.host, to.port, to.name, ca)
        except (NoTransport, OSError, ValueError) as error:
            self._log.warn("no way to {to}: {why}", to=f"{to.host}:{to.port} over {to.transport}", why=str(error))
            return None


class OneWay:
    """One server of a next hop: `pbx.call.driving.Way`."""

    __slots__ = ("_ca", "_to", "_ways", "address")

    def __init__(self, ways: Ways, to: Destination, ca: Path | None) -> None:
        self.address = to.host
        self._ways = ways
        self._to = to
        self._ca = ca

    def open(self) -> Flow | None:
        """The flow there, connected if need be."""
        return self._ways.open(self._to, self._ca)

    def __str__(self) -> str:
        return f"{self._to.host}:{self._to.port} over {self._to.transport}"
