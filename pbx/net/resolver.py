"""
Finds the SIP servers of a domain: RFC 3263 §4.1 and §4.2, with RFC 2782 for SRV and RFC 7984 for two address families.

An address stands for itself. A name in the system's hosts file, or with a port, has addresses only; any other
is asked for NAPTR, then SRV, then addresses, unless the transport is given (then SRV, then addresses).
Nothing here blocks, and nothing comes out but destinations or a `ResolutionError` whose text can be shown.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address
from itertools import groupby
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import FirstError, gatherResults

from pbx.net.dns_client import DnsClient
from pbx.net.dns_message import is_host_name
from pbx.net.lookups import LookupFailed, Lookups
from pbx.net.randomness import SystemChance
from pbx.net.system_names import SystemNames

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted.python.failure import Failure

    from pbx.net.dns_client import Server
    from pbx.net.dns_message import NamingPointer, Service
    from pbx.net.lookups import Found, Key

MOST_TARGETS = 8
"""SRV targets of one service that are looked up, the most wanted ones."""
MOST_DESTINATIONS = 24
_ROUTES_FOR = 10.0
"""Seconds after which the system is asked again which addresses it can reach."""

SERVICES = {"UDP": "_sip._udp", "TCP": "_sip._tcp", "TLS": "_sips._tcp"}
"""The SRV name of each transport (RFC 3263 §4.1)."""
_POINTERS = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
"""The transport of each NAPTR service."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One server: transport, address, port, and the domain it was found for."""

    transport: str
    """``"UDP"``, ``"TCP"`` or ``"TLS"``."""
    host: str
    """An IP address, without brackets."""
    port: int
    name: str
    """What was asked for: for TLS, what the certificate has to be for (RFC 5922 §4), whatever SRV says."""


class ResolutionError(Exception):
    """Why a name leads nowhere, as a sentence."""


class Resolver:
    """
    Looks SIP servers up.

    Args:
        reactor: Time, UDP and TCP.
        servers: DNS servers; none: those of the system, and its hosts file counts.
        timeout: Seconds for one look-up. A whole search takes three at most, one after the other; two if DNS is silent.
        log: Told when DNS dies and when it is back.
        choose: Gives a random whole number below its argument: for SRV weights and the ids of questions.
        system: The system's files.
        route: Gives our own address toward an address, or None if there is no way there.
        udp_families: IP versions that our UDP sockets speak: servers of others are not given for UDP.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[Server],
        timeout: float,
        log: Any,
        *,
        choose: Callable[[int], int] | None = None,
        system: SystemNames | None = None,
        route: Callable[[str], str | None] | None = None,
        udp_families: Collection[int] = (4, 6),
    ) -> None:
        self._choose = choose or SystemChance().randrange
        self._servers = list(servers)
        self._system = system or SystemNames(reactor)
        self._route = route or own_address_toward
        self._udp_families = udp_families
        self._clock = reactor
        self._look_again = float("-inf")
        self._rank: Callable[[str], int | None]
        self._lookups = Lookups(reactor, DnsClient(reactor, self._choose), self.servers, timeout, log)

    def servers(self) -> list[Server]:
        """The DNS servers that are asked now."""
        return self._servers or self._system.servers()

    def configure(self, servers: Sequence[Server], timeout: float) -> None:
        """Ask other servers from now on; parameters as when it was made."""
        self._servers = list(servers)
        self._lookups.configure(timeout)

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables, for the shell."""
        return self._lookups.sizes()

    def forget(self) -> None:
        """Forget all answers: the next call asks anew."""
        self._lookups.forget()

    async def destinations(self, host: str, port: int | None = None, transport: str = "", *, secure: bool = False) -> list[Destination]:
        """
        The servers of ``host``, most wanted first; at least one.

        Args:
            host: A domain, or an address, with or without brackets.
            port: As the URI has it; None: it has none.
            transport: ``"UDP"``, ``"TCP"`` or ``"TLS"``; "": as the domain wants it.
            secure: It is a SIPS URI: TLS only.

        Raises:
            ResolutionError: There is none, or nobody can say.
        """
        wanted = _wanted_transport(host, transport, secure)
        usual = wanted or "UDP"
        address = _address(host)
        if address:
            return [Destination(usual, address, port or _usual_port(usual), address)]
        name = host.lower().removesuffix(".")
        if not is_host_name(name):
            raise ResolutionError(f"{host[:100]!r} is no host name")
        search = _Search(self._lookups)
        found: list[Destination] = []
        if port is None and not self._own(name):
            if transport:
                found = await self._by_services(search, [(f"{SERVICES[wanted]}.{name}", wanted)], name)
            else:
                found = await self._by_domain(search, name, secure)
            if search.refused and not found:
                raise ResolutionError(search.refused)
        return found or await self._by_address(search, usual, port or _usual_port(usual), name)

    async def _by_domain(self, search: _Search, name: str, secure: bool) -> list[Destination]:
        """NAPTR, then SRV of each transport (§4.1)."""
        await search.fetch([(name, "NAPTR")])
        pointers = _usable_pointers(search.values(name, "NAPTR"), secure)
        for _, equals in groupby(pointers, key=lambda one: one.order):
            # RFC 3403 §4.1: a higher order counts only where the lower one is of no use.
            found = await self._by_services(search, [(one.replacement, _POINTERS[one.service]) for one in equals], name)
            if found:
                return found
        services = [(f"{SERVICES[transport]}.{name}", transport) for transport in (("TLS",) if secure else ("UDP", "TCP"))]
        # Some small DNS servers are silent to what they do not know. If this one is dead, the addresses fail at the same
        # time as the services, and not after them.
        silent = isinstance(search.answers[name, "NAPTR"], str)
        return await self._by_services(search, services, name, beside=_both(name) if silent else ())

    async def _by_services(
        self, search: _Search, services: Sequence[tuple[str, str]], name: str, beside: Sequence[Key] = ()
    ) -> list[Destination]:
        """
        The servers of SRV names with their transports (§4.2), in the order of RFC 2782.

        None if they have no records or these lead nowhere. A domain that says "there is no such service" is noted in the search.
        """
        await search.fetch([*((service, "SRV") for service, _ in services), *beside])
        wanted: list[tuple[str, Service]] = []
        for service, transport in services:
            given = search.values(service, "SRV")
            if given and not any(one.target for one in given):
                search.refused = f"{name}: its SRV record of {service} says that there is no SIP over {transport}"
            usable = [one for one in given if one.port and is_host_name(one.target)]
            wanted += [(transport, one) for one in self.by_weight(usable)[:MOST_TARGETS]]
        unknown = [one.target for _, one in wanted if not self._own(one.target) and (one.target, "A") not in search.extra]
        await search.fetch([key for target in unknown for key in _both(target)])
        found = [
            destination
            for transport, one in wanted
            for destination in self._reachable(transport, self._addresses(search, one.target), one.port, name)
        ]
        return found[:MOST_DESTINATIONS]

    async def _by_address(self, search: _Search, transport: str, port: int, name: str) -> list[Destination]:
        """
        The addresses of ``name`` itself.

        Raises:
            ResolutionError: There is none, or nobody can say, or nothing can be sent there.
        """
        if not self._own(name):
            await search.fetch(_both(name))
        addresses = self._addresses(search, name)
        if not addresses:
            raise ResolutionError(search.why_not(name))
        found = self._reachable(transport, addresses, port, name)
        if not found:
            raise ResolutionError(f"{name} leads to {', '.join(addresses)}, where nothing can be sent over {transport} from here")
        return found

    def by_weight(self, services: Sequence[Service]) -> list[Service]:
        """SRV records in the order in which they are to be tried: by priority, and by chance after their weights (RFC 2782)."""
        ordered = []
        for _, equals in groupby(sorted(services, key=lambda one: one.priority), key=lambda one: one.priority):
            # Those of weight 0 first: a drawn 0 is theirs, a very small chance.
            rest = sorted(equals, key=lambda one: one.weight > 0)
            while rest:
                drawn = self._choose(sum(one.weight for one in rest) + 1)
                running = 0
                for one in rest:
                    running += one.weight
                    if running >= drawn:
                        break
                rest.remove(one)
                ordered.append(one)
        return ordered

    def _addresses(self, search: _Search, name: str) -> list[str]:
        """All addresses of ``name`` that are known by now, of both families."""
        return self._own(name) or [address for kind in ("AAAA", "A") for address in search.values(name, kind)]

    def _own(self, name: str) -> list[str]:
        """What the system's files say."""
        return self._system.addresses(name) if not self._servers or name == "localhost" else []

    def _reachable(self, transport: str, addresses: Sequence[str], port: int, name: str) -> list[Destination]:
        usable = [one for one in self._in_order(addresses) if transport != "UDP" or (6 if ":" in one else 4) in self._udp_families]
        return [Destination(transport, one, port, name) for one in usable[:MOST_TARGETS]]

    def _in_order(self, addresses: Sequence[str]) -> list[str]:
        """
        The addresses that can be reached from here, most wanted first.

        RFC 6724 in short: IPv6, then IPv4, then IPv6 toward which we would be somebody that the far end cannot answer
        (§5 rule 2, scopes). Where nothing can be sent, as to ``0.0.0.0``, is left out.
        """
        now = self._clock.seconds()
        if now >= self._look_again:
            self._look_again = now + _ROUTES_FOR
            self._rank = lru_cache(maxsize=512)(partial(_rank, self._route))
        ranked = [(rank, address) for address in dict.fromkeys(addresses) if (rank := self._rank(address)) is not None]
        return [address for _, address in sorted(ranked, key=_by_rank)]


class _Search:
    """
    One search, and what it has found so far: lookups that are needed together are made together.

    Attributes:
        answers: What was said to each question; a failure as a text.
        extra: Records that came along with the answers.
        refused: That a service is decidedly not offered; "" if nobody has said so.
    """

    def __init__(self, lookups: Lookups) -> None:
        self.answers: dict[Key, Found | str] = {}
        self.extra: dict[Key, tuple[Any, ...]] = {}
        self.refused = ""
        self._lookups = lookups

    async def fetch(self, keys: Sequence[Key]) -> None:
        """Look these up, all at the same time."""
        waiting = []
        for key in dict.fromkeys(keys):
            if key in self.answers or key in self.extra:
                continue
            known = self._lookups.known(key)
            if known is not None:
                self._take(known, key)
            else:
                waiting.append(self._lookups.find(*key).addCallbacks(self._take, self._failed, (key,), errbackArgs=(key,)))
        if waiting:
            try:
                await gatherResults(waiting, consumeErrors=True)
            except FirstError as error:
                error.subFailure.raiseException()

    def values(self, name: str, kind: str) -> tuple[Any, ...]:
        """The records that are known."""
        answer = self.answers.get((name, kind))
        if isinstance(answer, str) or answer is None:
            return self.extra.get((name, kind), ())
        return answer.values

    def why_not(self, name: str) -> str:
        """Why ``name`` has no address."""
        answers = [self.answers[key] for key in _both(name)]
        for answer in answers:
            if isinstance(answer, str):
                return f"{name} cannot be looked up: {answer}"
        found = [answer for answer in answers if not isinstance(answer, str)]
        if any(answer.missing == "NXDOMAIN" for answer in found):
            return f"{name} does not exist (asked for AAAA and A: {found[0].server} answers NXDOMAIN)"
        return f"{name} has no address (asked for AAAA and A: {found[0].server} has neither)"

    def _take(self, found: Found, key: Key) -> None:
        self.answers[key] = found
        self.extra.update(found.extra)

    def _failed(self, failure: Failure, key: Key) -> None:
        if not isinstance(failure.value, LookupFailed):
            failure.raiseException()  # cancelled
        self.answers[key] = str(failure.value)


def _both(name: str) -> list[Key]:
    """The questions for the addresses of both families."""
    return [(name, "AAAA"), (name, "A")]


def _rank(route: Callable[[str], str | None], address: str) -> int | None:
    own = route(address)
    where = ip_address(address)
    if own is None or where.is_unspecified or where.is_multicast or address == "255.255.255.255":
        return None
    return 1 if where.version == 4 else 2 if where.is_global and not _is_global(own) else 0


def _by_rank(ranked: tuple[int, str]) -> int:
    return ranked[0]


def _usual_port(transport: str) -> int:
    return 5061 if transport == "TLS" else 5060


def own_address_toward(remote: str) -> str | None:
    """Our address toward ``remote``, from the system's routing; None if there is no route. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in remote else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((remote, 9))
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError):
        return None


def _is_global(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_global


def _address(host: str) -> str:
    """``host`` as an address without brackets; "" if it is none."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip_address(bare)
    except ValueError:
        return ""
    return bare


def _wanted_transport(host: str, transport: str, secure: bool) -> str:
    wanted = transport.upper()
    if wanted and wanted not in SERVICES:
        raise ResolutionError(f"{host}: there is no SIP over {transport[:20]!r} here; there are UDP, TCP and TLS")
    if secure and wanted == "UDP":
        raise ResolutionError(f"{host}: sips: is TLS, and UDP has none")
    return "TLS" if secure else wanted


def _usable_pointers(pointers: Sequence[NamingPointer], secure: bool) -> list[NamingPointer]:
    """NAPTR records that lead to SRV records of SIP, by order and preference (RFC 3263 §4.1)."""
    usable = [
        one for one in pointers if one.flags == "s" and not one.expression and one.service in _POINTERS and is_host_name(one.replacement)
    ]
    return sorted((one for one in usable if not secure or one.service == "SIPS+D2T"), key=lambda one: (one.order, one.preference))
