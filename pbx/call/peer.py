"""
Peers and targets: who is at the far end of a leg, and what is rung.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbx.sip.flow import Flow


class Kind(Enum):
    """What sort of peer."""

    EXTENSION = "extension"
    LINE = "line"
    TRUNK = "trunk"


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Who is at the far end of a leg and how to speak with them.

    Attributes:
        kind: Extension, line or trunk.
        name: The extension's number, the line's or trunk's name.
        display: The name shown beside the number; "" for none.
        level: The call level that it may dial (REFERENCE: ``[routing] levels``).
        max_calls: Calls at once; 0: no limit.
        max_contacts: Devices that may register for it.
        relay: ``"always"`` or ``"never"``: whether its media goes through the exchange.
        rel100: ``"off"``, ``"supported"`` or ``"required"`` (RFC 3262).
        force_rport: Answer to the packet's source port though Via lacks rport (RFC 3581).
        addresses: Addresses from which its media may come besides those of SDP and signalling.
        send_181: Whether it is told of diversions.
    """

    kind: Kind
    name: str
    display: str = ""
    level: int = 0
    max_calls: int = 0
    max_contacts: int = 5
    relay: str = "always"
    rel100: str = "supported"
    force_rport: bool = True
    addresses: tuple[str, ...] = ()
    send_181: bool = True

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


@dataclass(frozen=True, slots=True)
class Caller:
    """
    The answer to "who is calling": identity comes from the credentials, not from what From claims.

    Attributes:
        peer: The one who proved to be it.
        number: The number shown to the called party.
        display: The name shown with it.
    """

    peer: Peer
    number: str
    display: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """
    The answer "prove it": a 401 goes out and nothing is kept.

    Attributes:
        stale: The credentials were right, the nonce was too old (RFC 7616 §3.3).
        algorithms: What to offer, strongest first; None: what ``[sip] digest`` says.
    """

    stale: bool = False
    algorithms: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """
    What is rung.

    Attributes:
        uri: The Request-URI, as text.
        peer: Whose habits apply.
        flow: The way to a registered device; None: ``address`` is resolved.
        address: Next hop ``(host, port, transport)`` of a static contact or a carrier.
        routes: Route header values to be used (RFC 3327 §5.3).
    """

    uri: str
    peer: Peer
    flow: Flow | None = None
    address: tuple[str, int, str] | None = None
    routes: tuple[str, ...] = ()

    @property
    def may_change_transport(self) -> bool:
        """Whether a large request may go by TCP instead of UDP: it has neither a flow nor a transport of its own choice."""
        return self.flow is None and self.address is not None and self.address[2] == "UDP" and ";transport=" not in self.uri.lower()

    def __str__(self) -> str:
        return f"{self.peer} at {self.uri}"
