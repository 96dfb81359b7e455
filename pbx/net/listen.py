"""
Where we listen: ``[sip] listen``, such as ``"udp:5060"`` or ``"tls:5061:interface=::1:privateKey=key.pem:certKey=cert.pem"``.

The manner of Twisted's endpoint descriptions, which know no udp; a colon within a value
may be escaped as theirs (``interface=\\:\\:1``) and need not be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address

TRANSPORTS = ("udp", "tcp", "tls")
_KEYS = ("interface", "privateKey", "certKey")
_LATER = ("ws", "wss")
# A value ends where the next key begins: so an IPv6 address needs no escapes.
_NEXT_KEY = re.compile(r":(?=[A-Za-z]+=)")


class ListenError(ValueError):
    """A description that cannot be understood: the text is a sentence that says what to write instead."""


@dataclass(frozen=True, slots=True)
class Listen:
    """
    One place to listen at.

    Attributes:
        transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
        port: Port number, 1 to 65535.
        interface: The address to bind, without brackets; "" for all of IPv4, "::" for all of IPv6.
        private_key: PEM file of the key, for TLS; "": a self-signed certificate is made.
        certificate: PEM file of the certificate and its chain, for TLS.
    """

    transport: str
    port: int
    interface: str = ""
    private_key: str = ""
    certificate: str = ""

    def __str__(self) -> str:
        parts = [self.transport, str(self.port)]
        values = (self.interface, self.private_key, self.certificate)
        parts += [f"{key}={value}" for key, value in zip(_KEYS, values, strict=True) if value]
        return ":".join(parts)


def parse_listen(text: str) -> Listen:
    """
    Parse one description.

    Raises:
        ListenError: It names an unknown transport or key, or a port or address that is none.
    """
    first, *pairs = _NEXT_KEY.split(text.strip().replace("\\:", ":"))
    transport, _, port = first.partition(":")
    _check_transport(transport, text)
    values = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in _KEYS:
            raise ListenError(f'listen "{text}": there is no "{key}"{_meant(key, _KEYS)}; known are {", ".join(_KEYS)}')
        if key in values:
            raise ListenError(f'listen "{text}": {key} is given twice')
        values[key] = value
    listen = Listen(
        transport,
        _port(port, text),
        _interface(values.get("interface", ""), text),
        values.get("privateKey", ""),
        values.get("certKey", ""),
    )
    if transport != "tls" and (listen.private_key or listen.certificate):
        raise ListenError(f'listen "{text}": privateKey and certKey are for tls, {transport} is not encrypted')
    if bool(listen.private_key) != bool(listen.certificate):
        raise ListenError(f'listen "{text}": privateKey and certKey belong together; without both a self-signed certificate is made')
    return listen


def parse_listens(texts: list[str]) -> list[Listen]:
    """
    Parse all descriptions.

    Raises:
        ListenError: One of them cannot be understood, or two are the same place.
    """
    found: dict[tuple[bool, int, str], str] = {}
    listens = []
    for text in texts:
        listen = parse_listen(text)
        place = (listen.transport == "udp", listen.port, listen.interface)
        if place in found:
            raise ListenError(f'listen "{text}": the same place as "{found[place]}"')
        found[place] = text
        listens.append(listen)
    return listens


def _check_transport(transport: str, text: str) -> None:
    if transport in _LATER:
        raise ListenError(f'listen "{text}": {transport} (WebSocket) is not there yet; there are {", ".join(TRANSPORTS)}')
    if transport not in TRANSPORTS:
        guess = _meant(transport, TRANSPORTS)
        raise ListenError(f'listen "{text}": "{transport}" is no transport{guess}; write one of {", ".join(TRANSPORTS)}, as in "udp:5060"')


def _port(port: str, text: str) -> int:
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    if not 1 <= number <= 65535:
        raise ListenError(f'listen "{text}": "{port}" is no port from 1 to 65535; write it after the transport, as in "udp:5060"')
    return number


def _interface(interface: str, text: str) -> str:
    address = interface.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(address)) if address else ""
    except ValueError:
        raise ListenError(
            f'listen "{text}": interface must be an address of this host such as 192.0.2.7 or ::1, not "{interface}"'
        ) from None


def _meant(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
