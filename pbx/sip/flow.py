"""
A flow: the way back to a device (the idea of RFC 5626 §2).

The core only carries flows about and compares them; the subclasses in `pbx.net`
know how to write to them.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from pbx.sip.uri import SipUri

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from pbx.sip.headers import Via
    from pbx.sip.uri import Uri

_HIDDEN = [
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7", "fe80::/10", "::1/128",
    )
]  # fmt: skip
"""Networks that cannot be reached from everywhere."""


def _is_hidden(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _HIDDEN)


class Flow:
    """
    Transport, local socket, far address and, where there is one, the connection.

    Two flows with the same `key` are the same way to the same device.
    """

    __slots__ = ("alive", "key", "names", "opened_here", "proven", "reliable", "remote", "sent_by", "transport", "why_lost")

    def __init__(self, transport: str, remote: tuple[str, int], sent_by: str, key: str, *, reliable: bool) -> None:
        self.transport = transport
        """``"UDP"``, ``"TCP"`` or ``"TLS"``, as it stands in a Via."""
        self.remote = remote
        """Address (no brackets around IPv6) and port of the far end, as packets carry them."""
        self.sent_by = sent_by
        """``host:port`` that this peer can reach us at: what we write into Via and Contact (RFC 3261 §18.1.1)."""
        self.key = key
        """Names the flow: transport, local socket, far address; for a stream also the connection."""
        self.reliable = reliable
        """True for streams: no retransmissions, no waiting for stragglers (RFC 3261 §17.1.1.2)."""
        self.proven = False
        """Somebody has proved over it who they are: a stream that never is gets closed soon."""
        self.names: tuple[str, ...] = ()
        """What the far end's certificate has been verified to stand for (TLS); nothing where none was asked for."""
        self.opened_here = False
        """Whether we have connected to them."""
        self.why_lost = ""
        """Why a connection is gone, or could not be made, in words; "" while it is there."""
        self.alive = True
        """False once a stream's connection is gone."""

    @property
    def via(self) -> str:
        """The Via value up to the branch; we always ask for rport (RFC 3581 §3)."""
        return f"SIP/2.0/{self.transport} {self.sent_by};rport"

    def beside(self, host: str, port: int) -> Flow:
        """The way to ``host`` and ``port`` from the same socket; a connection leads nowhere else."""
        return self

    def answering(self, via: Via) -> Flow:
        """The way back to a peer that need not be answered where it sends from: the port of its Via (RFC 3261 §18.2.2, RFC 3581 §4)."""
        return self if via.rport is not None else self.beside(self.remote[0], via.port or 5060)

    def named(self, uri: Uri) -> Flow:
        """
        The way that a peer names in its Contact, or as its first hop (RFC 3261 §12.2.1.1); this one where nothing can be told from it.

        That is so with a name, for which nobody is asked here; with another transport; and with an address of a private network that
        we do not share: whoever writes that sits behind NAT.
        """
        if self.transport != "UDP" or not isinstance(uri, SipUri):
            return self
        host, port = uri.address
        try:
            here, there = ip_address(self.remote[0]), ip_address(host)
        except ValueError:
            return self
        other_transport = uri.scheme == "sips" or (uri.parameter("transport") or "udp").lower() != "udp"
        if other_transport or here.version != there.version or (_is_hidden(there) and not _is_hidden(here)):
            return self
        return self.beside(host, port or 5060)

    def contact(self, user: str) -> str:
        """Our Contact value toward this peer (RFC 3261 §8.1.1.8)."""
        parameter = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"<sip:{user}@{self.sent_by}{parameter}>" if user else f"<sip:{self.sent_by}{parameter}>"

    def __repr__(self) -> str:
        return f"<{self.key}>"
