"""
Peers and targets: who is at the far end of a leg, and what is rung.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from pbx.sip.flow import Flow


class Kind(StrEnum):
    """What sort of peer."""

    EXTENSION = "extension"
    LINE = "line"
    TRUNK = "trunk"


@dataclass(frozen=True, slots=True)
class NextHop:
    """
    Where requests to a carrier go: looked up at each request (RFC 3263), its servers tried one after the other.

    Attributes:
        host: A domain, or an address.
        port: None: as its SRV records say.
        transport: ``"UDP"``, ``"TCP"`` or ``"TLS"``; "": as its NAPTR records say.
        ca: For TLS, a PEM file of the authorities that are believed; None: the system's.
    """

    host: str
    port: int | None = None
    transport: str = ""
    ca: Path | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """How we prove to a peer who we are, when it challenges us (RFC 3261 §22)."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Who is at the far end of a leg and how to speak with them.

    Attributes:
        kind: Extension, line or trunk.
        name: The extension's number, the line's or trunk's name.
        display: The name shown beside the number; "" for none.
        level: The call level that it may dial (``[routing] levels``); None: local numbers only.
        max_calls: Calls at once; 0: no limit.
        max_contacts: Devices that may register for it.
        relay: ``"always"`` or ``"never"``: whether its media goes through the exchange.
        rel100: ``"off"``, ``"supported"`` or ``"required"`` (RFC 3262).
        force_rport: Answer to the packet's source port though Via lacks rport (RFC 3581), and send requests there; otherwise to where
            its Via and its Contact say that it is.
        addresses: Addresses from which its media may come besides those of SDP and signalling.
        send_181: Whether it is told of diversions.
        trusted: Belongs to our trust domain (RFC 3325 §2.3): its P-Asserted-Identity is believed, and it gets ours.
        domain: Host of From and To toward it; "" for our own.
        request_uri_parameters: Added to the Request-URI of REGISTER and INVITE, such as ``";user=phone"``; "" for none.
        number_format: Whether the numbers in our requests to it stand in SIP or in tel URIs (RFC 3966).
        caller_number: Shown to it instead of the caller's own number; "" for none.
        contact_user: User part of our Contact toward it; "" for the number shown.
        login: How we answer its challenges; None: not at all.
        max_incoming: Calls at once that come from it; None: no limit of their own.
        max_outgoing: Calls at once that go to it; None: no limit of their own.
        may_transfer: Whether it may have its partner talk to somebody else (REFER).
    """

    kind: Kind
    name: str
    display: str = ""
    level: int | None = 0
    max_calls: int = 0
    max_contacts: int = 5
    relay: str = "always"
    rel100: str = "supported"
    force_rport: bool = True
    addresses: tuple[str, ...] = ()
    send_181: bool = True
    trusted: bool = False
    domain: str = ""
    request_uri_parameters: str = ""
    number_format: Literal["sip", "tel"] = "sip"
    caller_number: str = ""
    contact_user: str = ""
    login: Login | None = None
    max_incoming: int | None = None
    max_outgoing: int | None = None
    may_transfer: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Caller:
    """
    The answer to "who is calling": identity comes from the credentials, not from what From claims.

    Attributes:
        peer: The one who proved to be it.
        number: The number shown to the called party; "" for an anonymous caller.
        display: The name shown with it.
        called: The number that is asked for, where the Request-URI does not tell it; "" otherwise.
    """

    peer: Peer
    number: str
    display: str = ""
    called: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """
    The answer "prove it": a 401 goes out and nothing is kept.

    Attributes:
        stale: The credentials were right, the nonce was too old (RFC 7616 §3.3).
        algorithms: What to offer, strongest first; None: what ``[sip] digest`` says.
        force_rport: As in `Peer`.
    """

    stale: bool = False
    algorithms: tuple[str, ...] | None = None
    force_rport: bool = True


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
        hops: The carrier's next hops, most wanted first, each with all its servers; empty when there is a flow or an address.
        to: The To value, where it is not the number called in our own domain; "" otherwise.
    """

    uri: str
    peer: Peer
    flow: Flow | None = None
    address: tuple[str, int, str] | None = None
    routes: tuple[str, ...] = ()
    hops: tuple[NextHop, ...] = ()
    to: str = ""

    @property
    def may_change_transport(self) -> bool:
        """Whether a large request may go by TCP instead of UDP: it has neither a flow nor a transport of its own choice."""
        return self.flow is None and self.address is not None and self.address[2] == "UDP" and ";transport=" not in self.uri.lower()

    @property
    def as_hop(self) -> NextHop:
        """Its address as a next hop."""
        assert self.address is not None
        host, port, transport = self.address
        return NextHop(host, port, "" if self.may_change_transport else transport)

    def __str__(self) -> str:
        return f"{self.peer} at {self.uri}"
