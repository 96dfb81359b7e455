"""
What lines and trunks have in common: the settings of a carrier, and how a number is asked for there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pbx.call.peer import NextHop, Peer, Target
from pbx.core_settings import dialled
from pbx.settings import Settings, setting
from pbx.sip.errors import ParseError
from pbx.sip.uri import SipUri, TelUri, parse_uri

_NOT_OURS_TO_SET = ("method", "maddr", "ttl", "lr")
"""URI parameters that would send the request elsewhere, or make it another one."""


class CarrierSettings(Settings):
    """The keys of every line and every trunk."""

    transport: Literal["", "udp", "tcp", "tls"] = setting("", "how it is spoken to; empty: as its DNS records say (RFC 3263), else udp")
    ca: Path | None = setting(None, "PEM file of the authorities whose certificates are believed (tls); unset: those of the system")
    incoming: str = setting("", "local number that its calls go to; empty: the number that they ask for")
    prefixes: tuple[str, ...] | None = setting(None, "what is dialled to reach it, the outside prefix included")
    level: int | None = setting(None, "call level of the calls that come from it; unset: they reach local numbers only", ge=0)
    caller_number: str = setting("", "shown to it instead of the caller's number")
    rel100: Literal["off", "supported", "required"] = setting(
        "supported", 'reliable provisional responses (RFC 3262); "off" where its PRACK is broken'
    )
    request_uri_parameters: str | None = setting(None, 'added to the Request-URI of REGISTER and INVITE, such as "user=phone"')
    number_format: Literal["sip", "tel"] = setting("sip", "whether it is asked for numbers in SIP or in tel URIs (RFC 3966)")
    force_rport: bool = setting(
        False, "answer it where it sends from, and send requests of a call there, whatever its Via and its Contact say"
    )
    send_181: bool = setting(True, "tell it by 181 that a call of its is forwarded")
    transfer: bool = setting(False, "whether it may transfer its calls (REFER), with the rights of calls that come from it")
    relay: Literal["", "always", "never"] = setting("", "whether its media goes through the exchange; empty: as [media] relay says")

    @field_validator("prefixes")
    @classmethod
    def _are_prefixes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for prefix in value or ():
            if prefix:
                dialled(prefix)
        return value

    @field_validator("incoming")
    @classmethod
    def _is_a_number(cls, value: str) -> str:
        return dialled(value) if value else value

    @field_validator("request_uri_parameters")
    @classmethod
    def _are_parameters(cls, value: str | None) -> str | None:
        return None if value is None else uri_parameters(value)

    @field_validator("caller_number")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError(f"{value!r} has control characters")
        return value


_TEL = re.compile(r"\+?[0-9]+|[0-9*#]+")
"""A global number, or a local one."""


def uri_parameters(text: str) -> str:
    """
    The URI parameters of a configuration, ready to be put behind a host and port.

    Args:
        text: With or without its first semicolon; several are joined by semicolons.

    Returns:
        ``";user=phone"``, or "" for none.

    Raises:
        ValueError: With the reason: no uri-parameter (RFC 3261 §25.1), or one that must not be set here.
    """
    text = text.removeprefix(";")
    if not text:
        return ""
    try:
        uri = parse_uri(f"sip:host;{text}")
    except ParseError:
        uri = None
    if not isinstance(uri, SipUri) or uri.headers or len(uri.parameters) != text.count(";") + 1:
        raise ValueError(f"{text!r} is no list of URI parameters such as user=phone or user=phone;x=1")
    for name, _ in uri.parameters:
        if name in _NOT_OURS_TO_SET:
            raise ValueError(f"{name!r} must not be set: it would lead requests elsewhere or make them invalid")
    return str(uri).removeprefix("sip:host")


def carrier_target(peer: Peer, number: str, host: str, hops: tuple[NextHop, ...], *, routes: tuple[str, ...] = ()) -> Target:
    """
    What is rung to reach ``number`` at a carrier.

    Args:
        peer: The line or trunk.
        number: As the carrier wants it, without our prefixes.
        host: The host of its URIs: domain, or an address, with its port if one belongs there.
        hops: Where the request goes.
        routes: Route values (RFC 3608).
    """
    base = parse_uri(f"sip:{host}")
    assert isinstance(base, SipUri)
    uri = SipUri.of(number, base.host, base.port)
    if peer.number_format == "tel" and _TEL.fullmatch(number):
        # RFC 3966 §5.1.5: what is not global needs a context to be unique in.
        tel = TelUri(number, () if number.startswith("+") else (("phone-context", base.host),))
        return Target(str(tel), peer, hops=hops, to=f"<{tel}>", routes=routes)
    asked = str(uri) + peer.request_uri_parameters
    return Target(asked, peer, hops=hops, to=f"<{uri}>", routes=routes)
