"""The DNS of a world in memory: names, and the servers that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.abstract import isIPAddress, isIPv6Address

from pbx.net.resolver import Destination, ResolutionError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Names:
    """
    In the place of `pbx.net.resolver.Resolver`.

    Attributes:
        table: Domain to its servers, most wanted first: ``(transport, address, port)``.
        asked: The domains that have been asked for, in order.
        configured: The servers and the time limit of the last `configure`.
    """

    def __init__(self) -> None:
        self.table: dict[str, list[tuple[str, str, int]]] = {}
        self.asked: list[str] = []
        self.configured: tuple[list[tuple[str, int]], float] | None = None

    def configure(self, servers: Sequence[tuple[str, int]], timeout: float) -> None:
        """As the resolver: noted."""
        self.configured = list(servers), timeout

    async def destinations(self, host: str, port: int | None = None, transport: str = "", *, secure: bool = False) -> list[Destination]:
        """As the resolver does it; an address stands for itself."""
        host = host.removeprefix("[").removesuffix("]")
        if isIPAddress(host) or isIPv6Address(host):
            transport = transport or ("TLS" if secure else "UDP")
            return [Destination(transport, host, port or (5061 if transport == "TLS" else 5060), host)]
        self.asked.append(host)
        found = [one for one in self.table.get(host, ()) if not transport or one[0] == transport]
        if not found:
            raise ResolutionError(f"{host} has no address")
        return [Destination(own, address, port or own_port, host) for own, address, own_port in found]

    def sizes(self) -> dict[str, int]:
        """As the resolver: nothing is kept here."""
        return {"dns_answers": 0, "dns_questions": 0}
