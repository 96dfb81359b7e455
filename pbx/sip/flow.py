"""
A flow: the way back to a device (the idea of RFC 5626 §2).

The core only carries flows about and compares them; the subclasses in `pbx.net`
know how to write to them.
"""

from __future__ import annotations


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

    def contact(self, user: str) -> str:
        """Our Contact value toward this peer (RFC 3261 §8.1.1.8)."""
        parameter = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"<sip:{user}@{self.sent_by}{parameter}>" if user else f"<sip:{self.sent_by}{parameter}>"

    def __repr__(self) -> str:
        return f"<{self.key}>"
