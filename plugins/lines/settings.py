"""The settings of a line: ``[lines.NAME]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from re import compile as pattern
from typing import Any, Self
from warnings import filterwarnings

from pydantic import field_validator, model_validator

from pbx.api import CarrierSettings, NextHop, SipUri, an_address, parse_uri, setting

_LIKE_AN_ADDRESS = pattern(r"[0-9.]+")
_TRANSPORTS = {"udp": "UDP", "tcp": "TCP", "tls": "TLS"}
_NOT_OURS_TO_SET = ("maddr", "method", "ttl")


# Every class has a method of this name, from its metaclass, and pydantic warns; it is not hidden by what instances have.
filterwarnings("ignore", 'Field name "register" in "LineSettings"', UserWarning)


class LineSettings(CarrierSettings):
    """``[lines.NAME]``: an account at a carrier."""

    registrar: str = setting("", 'where it registers: "sip.example.com", "192.0.2.1:5080" or a SIP URI; empty: the servers of the domain')
    proxy: str = setting("", "next hop of all requests, where that is another one; a SIP URI with ;lr is put into Route as well")
    register: bool = setting(True, "register there; without it the line is known by the addresses of its registrar and proxy alone")
    domain: str = setting("", "stands in From and To, and in the numbers that are asked for; empty: the host of the registrar")
    user: str = setting("", "the account: its number or name, without a domain")
    auth_user: str = setting("", "user name for challenges (digest); it may have a domain; empty: the user")
    password: str = setting("", "password for challenges; empty: there are none", secret=True)
    expires: int = setting(3600, "seconds that it asks to be kept; the registrar may say otherwise", ge=60, le=604800)
    new_call_id_per_register: bool = setting(False, 'a new Call-ID for each REGISTER, for registrars that answer "Invalid CSeq"')
    addresses: tuple[str, ...] = setting((), "addresses from which its calls come besides those of registrar and proxy")
    max_calls: int = setting(0, "calls at once; 0: no limit", ge=0)
    no_answer_after: float = setting(0.0, "seconds that calls out are rung; 0: [routing] ring_timeout", ge=0)
    allowed: tuple[str, ...] = setting((), "extensions that may call out by it; empty: all of them")
    backup: bool = setting(False, "tried only after the other lines and trunks with the same prefix")

    @classmethod
    def check_key(cls, key: str) -> None:
        super().check_key(key)
        if key.startswith("."):
            raise ValueError("a name does not begin with a point")

    @field_validator("registrar", "proxy")
    @classmethod
    def _is_a_server(cls, value: str) -> str:
        if value:
            server_uri(value)
        return value

    @field_validator("registrar")
    @classmethod
    def _is_no_route(cls, value: str) -> str:
        if value and server_uri(value).parameter("lr") is not None:
            raise ValueError("'lr' belongs to a proxy: the registrar is asked, and not passed through")
        return value

    @field_validator("domain")
    @classmethod
    def _is_a_domain(cls, value: str) -> str:
        if value and str(server_uri(value)) != f"sip:{server_uri(value).host}":
            raise ValueError(f"{value!r} is no domain; write a name or an address, without a port")
        return value

    @field_validator("user", "auth_user")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError(f"{value!r} has blanks around it, or control characters")
        return value

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(an_address(text) for text in value)

    @field_validator("ca")
    @classmethod
    def _can_be_read(cls, value: Any) -> Any:
        if value is not None:
            try:
                content = value.read_bytes()
            except OSError as error:
                raise ValueError(f"cannot be read: {error.strerror}") from None
            if b"-----BEGIN CERTIFICATE-----" not in content:
                raise ValueError("has no PEM certificate in it")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.registrar and not self.domain:
            raise ValueError('registrar: a line needs a registrar or a domain, such as registrar = "sip.example.com"')
        if self.register and not self.user:
            raise ValueError("user: a line that registers needs one; or write register = false")
        if "@" in self.user:
            raise ValueError(f"user: {self.user!r} has a domain; write it as domain, and the name for challenges as auth_user")
        if self.auth_user and not self.password:
            raise ValueError("password: auth_user needs one")
        for name, text in (("registrar", self.registrar), ("proxy", self.proxy)):
            transport = transport_of(server_uri(text)) if text else ""
            if transport and self.transport and transport != self.transport.upper():
                raise ValueError(f'transport: "{self.transport}", but {name} says {transport.lower()}')
        if self.ca is not None and self.hop.transport not in ("", "TLS"):
            raise ValueError(f"ca: there are certificates over TLS only, and this line speaks {self.hop.transport}")
        return self

    @property
    def registrar_uri(self) -> SipUri:
        """Whom it registers with."""
        return server_uri(self.registrar or self.domain)

    @property
    def hop(self) -> NextHop:
        """Where its requests go."""
        return self._hop(server_uri(self.proxy) if self.proxy else self.registrar_uri)

    @property
    def hops(self) -> tuple[NextHop, ...]:
        """Where its calls come from: the next hop, and the registrar behind it."""
        return tuple(dict.fromkeys((self.hop, self._hop(self.registrar_uri))))

    def _hop(self, uri: SipUri) -> NextHop:
        host, port = uri.address
        return NextHop(host, port, self.transport.upper() or transport_of(uri), self.ca)

    @property
    def host(self) -> str:
        """Of the numbers that are asked for; with its port, where it is the registrar itself."""
        if self.domain:
            return server_uri(self.domain).host
        uri = self.registrar_uri
        return uri.host if uri.port is None else f"{uri.host}:{uri.port}"

    @classmethod
    def check_entries(cls, entries: Mapping[str, Self]) -> Iterator[tuple[str, str, str, str]]:
        """Which of two lines a call goes out by must be somebody's decision."""
        for key, first, prefix in rivals(entries, None):
            what = f'the prefix "{prefix}"' if prefix is not None else "no prefixes"
            yield key, "prefixes", f"line {first} has {what} too, and nothing tells them apart", REMEDY


REMEDY = "give one of them another prefix, an allowed of its own, or backup = true"


def rivals(entries: Mapping[str, LineSettings], outside_prefix: str | None) -> Iterator[tuple[str, str, str | None]]:
    """
    Lines with a prefix that an earlier one has: name, name of that one, prefix.

    Those that are a backup, or that other extensions may dial, are none. ``outside_prefix`` is the prefix of those without.
    """
    first: dict[tuple[str | None, frozenset[str]], str] = {}
    for key, line in entries.items():
        if line.backup:
            continue
        for prefix in (outside_prefix,) if line.prefixes is None else line.prefixes:
            other = first.setdefault((prefix, frozenset(line.allowed)), key)
            if other != key:
                yield key, other, prefix


def server_uri(text: str) -> SipUri:
    """
    A server in the settings: a SIP URI, a host, or a host and port.

    Raises:
        ValueError: With the reason.
    """
    uri = None
    try:
        found = parse_uri(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{_bracketed(text)}")
        if isinstance(found, SipUri):
            host = found.address[0]
            if ":" in host or _LIKE_AN_ADDRESS.fullmatch(host):
                ip_address(host)
            uri = found
    except ValueError:  # ParseError is one
        pass
    if uri is None or uri.port == 0:
        raise ValueError(f'{text!r} is no server; write "sip.example.com", "192.0.2.1:5080" or "sip:sip.example.com;transport=tcp"')
    if uri.user is not None or uri.password or uri.headers:
        raise ValueError(f"{text!r} names a user, or headers: a server has none (RFC 3261 §10.2)")
    wrong = next((name for name, _ in uri.parameters if name in _NOT_OURS_TO_SET), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} must not be set: it would lead requests elsewhere or make them invalid")
    transport = uri.parameter("transport")
    if transport is not None and transport.lower() not in _TRANSPORTS:
        raise ValueError(f'{text!r}: transport is "udp", "tcp" or "tls"')
    return uri


def _bracketed(text: str) -> str:
    """An IPv6 address as URIs have it; anything else as it is."""
    try:
        return f"[{ip_address(text)}]" if ":" in text else text
    except ValueError:
        return text


def transport_of(uri: SipUri) -> str:
    """The transport that a URI asks for; "" for none."""
    return "TLS" if uri.scheme == "sips" else _TRANSPORTS.get((uri.parameter("transport") or "").lower(), "")
