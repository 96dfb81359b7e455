"""
Addresses: which of ours a peer sees, and who is near.

What stands in Via, Contact and SDP is the local address of the route to the peer, or,
toward addresses outside the local networks, the one that ``[sip] advertise`` names.
"""

from __future__ import annotations

import socket
import struct
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Interface, IPv6Interface

Network = IPv4Network | IPv6Network

PRIVATE: tuple[Network, ...] = tuple(
    # Loopback, RFC 1918, link-local, RFC 6598 (shared by carriers, but never on the open Internet), unique local.
    ip_network(text)
    for text in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
        "::1/128", "fe80::/10", "fc00::/7",
    )
)  # fmt: skip


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # an exchange is there to be reached; [sip] listen narrows it
"""What a socket is bound to that is bound to all addresses of a family."""


class Networks:
    """A set of networks that an address may be in; ``None`` members are never looked at, what is no address is in none."""

    __slots__ = ("_networks", "contains")

    def __init__(self, networks: Iterable[str | Network]) -> None:
        """
        Args:
            networks: Addresses and networks ("192.0.2.7", "192.0.2.0/24", "2001:db8::/32").

        Raises:
            ValueError: One of them is neither; the text says which.
        """
        self._networks = tuple(ip_network(one, strict=False) if isinstance(one, str) else one for one in networks)
        # Parsing an address costs microseconds, and the same few are asked about again and again.
        self.contains: Callable[[str], bool] = lru_cache(maxsize=4096)(self._contains)
        """Whether this address is in one of the networks."""

    def __bool__(self) -> bool:
        return bool(self._networks)

    def _contains(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


class Addresses:
    """
    Knows our addresses as peers see them.

    Args:
        advertise: What to write toward addresses outside the local networks: one a family; none: the local address.
        local_networks: Addresses and networks that are near; None: loopback, private ranges, the networks of our interfaces.
        route: Gives the local address of the route to an address; asks the system by default.
        interfaces: Gives the addresses of this host with their networks; asks the system by default.

    Raises:
        ValueError: What is given is no address or network.
    """

    def __init__(
        self,
        advertise: Iterable[str] = (),
        local_networks: Iterable[str] | None = None,
        route: Callable[[str], str] | None = None,
        interfaces: Callable[[], list[IPv4Interface | IPv6Interface]] | None = None,
    ) -> None:
        self._advertise = {ip_address(one).version: one for one in advertise if one}
        self._local_networks: tuple[str | Network, ...] | None = None if local_networks is None else tuple(local_networks)
        self._route = route or local_address_to
        self._interfaces = interfaces or interface_addresses
        self.refresh()

    def refresh(self) -> None:
        """Look at the interfaces again, and forget the routes: to be called when an address of this host may have changed."""
        interfaces = self._interfaces()
        near = self._local_networks
        if near is None:
            near = (*PRIVATE, *(one.network for one in interfaces))
        self.is_local = Networks(near).contains
        self.own = frozenset({*(str(one.ip) for one in interfaces), *self._advertise.values(), "127.0.0.1", "::1"})
        """All addresses of this host, and the advertised ones: requests to these are requests to us."""
        self.local_to: Callable[[str], str] = lru_cache(maxsize=4096)(self._route)
        """The local address of the route to an address: what our packets to it bear as their source."""

    def toward(self, remote: str, bound: str = "") -> str:
        """
        What to call ourselves toward ``remote``, as it stands in SDP (no brackets around IPv6).

        Args:
            remote: The peer's address.
            bound: The address that the socket is bound to, if not to all of them.
        """
        version = 6 if ":" in remote else 4
        if version in self._advertise and not self.is_local(remote):
            return self._advertise[version]
        if bound and bound not in EVERYWHERE:
            return bound
        return self.local_to(remote)


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP address, without brackets."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def in_brackets(address: str) -> str:
    """An address as it stands in a URI or a Via: IPv6 in brackets, without a zone."""
    return f"[{address.partition('%')[0]}]" if ":" in address else address


def shown_address(address: tuple[str, int]) -> str:
    """Address and port, an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_address_to(remote: str) -> str:
    """
    The address that this host's packets to ``remote`` bear, from the system's routing; sends nothing.

    The loopback address if there is no route.
    """
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((remote, 9))
            return str(probe.getsockname()[0]).partition("%")[0]
    except (OSError, UnicodeError):
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"


_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_DONE, _NLMSG_ERROR = 20, 22, 3, 2
_NLM_F_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def interface_addresses() -> list[IPv4Interface | IPv6Interface]:
    """This host's addresses with their networks, as the Linux kernel lists them; loopback only where it cannot be asked."""
    try:
        found = _from_netlink()
    except (AttributeError, OSError, struct.error, ValueError):
        found = []
    return found or [ip_interface("127.0.0.1/8"), ip_interface("::1/128")]


def _from_netlink() -> list[IPv4Interface | IPv6Interface]:
    """Ask by RTM_GETADDR (rtnetlink(7)): the standard library knows names of interfaces, not their addresses."""
    found: list[IPv4Interface | IPv6Interface] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        kernel.send(struct.pack("=IHHIIBxxxi", 24, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0, socket.AF_UNSPEC, 0))
        while True:
            data = kernel.recv(65536)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 16:
                    return found
                if kind == _RTM_NEWADDR:
                    found.extend(_address_in(data[16:length]))
                data = data[(length + 3) & ~3 :]


def _address_in(message: bytes) -> list[IPv4Interface | IPv6Interface]:
    """The address in one ``struct ifaddrmsg`` with its attributes."""
    family, prefix = message[0], message[1]
    if family not in (socket.AF_INET, socket.AF_INET6):
        return []
    attributes: dict[int, bytes] = {}
    rest = message[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        attributes[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    # On a point-to-point link IFA_ADDRESS is the far end, and IFA_LOCAL ours.
    address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
    return [] if address is None else [ip_interface(f"{socket.inet_ntop(family, address)}/{prefix}")]
