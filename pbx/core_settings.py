"""
The tables of the core: what ``[sip]``, ``[media]``, ``[store]``, ``[shell]`` and the others may hold.

Extensions, lines, trunks and every other service are plugins with tables of their own.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, field_validator, model_validator

from pbx.net.address import is_address
from pbx.net.listen import parse_listens
from pbx.settings import Settings, a_network, an_address, setting

_ENDPOINT = re.compile(r"tcp:(\d{1,5})(?::interface=(?:[^:\\]|\\.)+)?|unix:.+")
_TOKEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):([0-9a-f]{64})")
_GUESSED_FIRST = ("", "0", "123", "1234", "12345", "123456", "admin", "callback", "changeme", "password", "pbx", "secret", "test", "token")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?")
_PREFIX = re.compile(r"[0-9*#+A-Za-z._-]*")


class CapsSettings(Settings):
    """``[sip.caps]``: how big a message may be; what is bigger is refused before anybody looks into it."""

    message: int = setting(65536, "octets of a whole message", ge=1300, le=1 << 20)
    line: int = setting(8192, "octets of one header line", ge=256, le=65536)
    headers: int = setting(200, "header lines of a message", ge=20, le=2000)
    vias: int = setting(70, "Via values of a message", ge=1, le=255)
    contacts: int = setting(32, "Contact values of one REGISTER or 3xx", ge=1, le=1000)
    parts: int = setting(10, "parts of one multipart body", ge=1, le=1000)
    streams: int = setting(20, "media streams (m=) of one session description; each may cost four ports", ge=1, le=1000)


class SipSettings(Settings):
    """``[sip]``: names, addresses and manners of the exchange toward its peers."""

    domain: str = setting(
        "", "domain of this exchange, a name or an address; requests to our addresses are ours too; empty: our address alone"
    )
    listen: tuple[str, ...] = setting(
        ("udp:5060", "tcp:5060"),
        "where to listen: udp, tcp or tls, then :PORT[:interface=ADDRESS][:privateKey=FILE:certKey=FILE]",
        min_length=1,
    )
    advertise: tuple[str, ...] = setting(
        (), "our public address, or a list, one a family: written in Contact and SDP toward addresses outside local_networks only"
    )
    local_networks: tuple[str, ...] = setting(
        (), "networks that reach us without NAT; empty: loopback, the private ranges and the networks of our interfaces"
    )
    digest: tuple[Literal["SHA-256", "MD5"], ...] = setting(
        ("SHA-256", "MD5"),
        "digest algorithms offered and accepted, strongest first; who has proved SHA-256 is offered only that",
        min_length=1,
    )
    realm: str = setting("", "realm of the digest challenges; empty: the domain")
    client_ca: str = setting(
        "", "PEM file of the authorities whose client certificates prove a trunk that connects over tls; empty: nobody is asked for one"
    )
    session_timer: float = setting(1800.0, "seconds after which a call that no longer refreshes itself is cleared (RFC 4028); 0: off", ge=0)
    caps: CapsSettings = setting(CapsSettings(), "bounds of messages")

    @field_validator("advertise", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return ((value,) if value else ()) if isinstance(value, str) else value

    @field_validator("domain")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if value and not _HOST.fullmatch(value) and not is_address(value):
            raise ValueError("not a host name and not an address; write it without sip:, port and brackets")
        return value

    @field_validator("listen")
    @classmethod
    def _can_be_listened_on(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_listens(list(value))
        return value

    @field_validator("advertise")
    @classmethod
    def _one_of_each_family(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        addresses = tuple(an_address(text) for text in value)
        if len({":" in address for address in addresses}) != len(addresses):
            raise ValueError("at most one IPv4 and one IPv6 address")
        return addresses

    @field_validator("local_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a_network(text) for text in value)

    @field_validator("digest")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("the same algorithm stands there twice")
        return value

    @field_validator("session_timer")
    @classmethod
    def _not_below_the_floor(cls, value: float) -> float:
        if 0 < value < 90:
            raise ValueError("RFC 4028 §5 allows no less than 90 seconds; write 0 to switch session timers off")
        return value


class MediaSettings(Settings):
    """``[media]``: where and how RTP is relayed."""

    relay: Literal["always", "never"] = setting("always", "whether media goes through the exchange")
    address: str = setting("", "address written in SDP; empty: the local address of the route to the peer")
    first_port: int = setting(
        16384, "first UDP port for RTP; even, each stream takes it and the next (RTCP)", ge=1024, le=65534, multiple_of=2
    )
    last_port: int = setting(32767, "last UDP port, inclusive; 4 ports an audio call: 16384 to 32767 holds 4096", ge=1025, le=65535)
    silence_timeout: float = setting(60.0, "seconds without a packet that was expected before the call is cleared", gt=0)

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return an_address(value) if value else ""

    @model_validator(mode="after")
    def _room_for_a_call(self) -> Self:
        if self.last_port - self.first_port < 3:
            raise ValueError(f"last_port: {self.last_port} leaves no room for one call above first_port {self.first_port}")
        return self


class StoreSettings(Settings):
    """``[store]``: what must outlive the process."""

    path: Path = setting(Path("var"), "folder of bindings, forwards, call records, generated passwords and keys")
    keep_records: int = setting(100_000, "call records kept; the oldest go first", ge=0)


class ShellSettings(Settings):
    """``[shell]``: the shell over SSH, with keys only."""

    listen: str = setting("tcp:4222:interface=127.0.0.1", "where the shell listens, as Twisted's endpoints have it; empty: off")
    user: str = setting("admin", "the name to log in with", min_length=1)
    authorized_keys: tuple[Path, ...] = setting(
        (), "files with public keys, as OpenSSH has them; with none, shell_key is made under [store] path and accepted"
    )

    @field_validator("listen")
    @classmethod
    def _can_be_listened_on(cls, value: str) -> str:
        return _endpoint(value, "tcp:4222:interface=127.0.0.1")


def _token(value: str) -> str:
    match = _TOKEN.fullmatch(value)
    if match is None:
        raise ValueError('is not "NAME:HASH", a name and 64 hexadecimal digits; make one: python -m pbx.http.token NAME')
    name, digest = match.groups()
    if digest in {sha256(word.encode()).hexdigest() for word in (*_GUESSED_FIRST, name)}:
        raise ValueError(f"the token of {name} is what is guessed first; make one: python -m pbx.http.token {name}")
    return value


class HttpSettings(Settings):
    """``[http]``: calls, callbacks and metrics over HTTP, for programs that have a token."""

    listen: str = setting("", 'where HTTP listens, as Twisted\'s endpoints have it: "tcp:8080:interface=127.0.0.1"; empty: off')
    tokens: tuple[Annotated[str, AfterValidator(_token)], ...] = setting(
        (), 'who may ask: "NAME:HASH" each; python -m pbx.http.token NAME makes a token and this line', secret=True, max_length=1000
    )

    @field_validator("listen")
    @classmethod
    def _can_be_listened_on(cls, value: str) -> str:
        return _endpoint(value, "tcp:8080:interface=127.0.0.1")

    @field_validator("tokens")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in (0, 2):
            seen = [token.partition(":")[part] for token in value]
            twice = sorted({token.partition(":")[0] for token in value if seen.count(token.partition(":")[part]) > 1})
            if twice:
                raise ValueError(f"the same {'token' if part else 'name'} stands there twice: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _somebody_may_ask(self) -> Self:
        if self.listen and not self.tokens:
            raise ValueError("tokens: there is none, so nobody could ask anything; make one: python -m pbx.http.token NAME")
        return self


class PluginsSettings(Settings):
    """``[plugins]``: further services, and services left out."""

    path: tuple[Path, ...] = setting((), "folders searched for plugins beside the ones that come along")
    disabled: tuple[str, ...] = setting((), "names of plugins that are not to run; their tables may stay in the file")


class RewriteSettings(Settings):
    """How a number with one prefix is rewritten."""

    strip: int = setting(0, "characters taken off at the beginning", ge=0, le=64)
    prepend: str = setting("", "what is put before the rest", max_length=64)

    @field_validator("prepend")
    @classmethod
    def _can_bedialled(cls, value: str) -> str:
        return dialled(value)


class RewritesSettings(Settings):
    """``[routing.rewrite]``: numbers are rewritten before anybody is asked about them; the longest prefix decides."""

    caller: dict[str, RewriteSettings] = setting({}, "prefix of the caller's number to what becomes of it", max_length=10_000)
    called: dict[str, RewriteSettings] = setting({}, "prefix of the number asked for to what becomes of it", max_length=10_000)

    @field_validator("caller", "called")
    @classmethod
    def _are_prefixes(cls, value: dict[str, RewriteSettings]) -> dict[str, RewriteSettings]:
        for prefix in value:
            dialled(prefix)
        return value


class RoutingSettings(Settings):
    """``[routing]``: in what order the routers are asked, and what a number may cost."""

    order: tuple[str, ...] = setting(
        ("limits", "blocklist", "*", "forwarding", "groups", "extensions", "lines", "trunks"),
        'plugins in the order in which they are asked where a call goes; "*" stands for all that are not named, by name',
    )
    patience: float = setting(5.0, "seconds a router may take; then the caller gets 504", gt=0)
    outside_prefix: str = setting("9", "dialled before an outside number: lines without prefixes are reached by it, and all take it off")
    ring_timeout: float = setting(60.0, "seconds a target is rung before it counts as no answer", gt=0)
    levels: dict[str, int] = setting({}, "prefix to level: a caller may dial a prefix whose level is at most his own", max_length=10_000)
    rewrite: RewritesSettings = setting(RewritesSettings(), "rewriting of numbers by prefix")

    @field_validator("order")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return value

    @field_validator("outside_prefix")
    @classmethod
    def _can_bedialled(cls, value: str) -> str:
        return dialled(value)

    @field_validator("levels")
    @classmethod
    def _are_prefixes(cls, value: dict[str, int]) -> dict[str, int]:
        for prefix, level in value.items():
            dialled(prefix)
            if level < 0:
                raise ValueError(f"{prefix!r}: a level is 0 or more, and this one is {level}")
        return value


class GuardSettings(Settings):
    """``[guard]``: how strangers are slowed down."""

    rate: float = setting(50.0, "requests a second from one address that prove nothing (no trust, no credentials, no dialog)", gt=0)
    burst: int = setting(100, "how many of them may come at once", ge=1)
    tries: int = setting(10, "wrong passwords a minute for one user name", ge=1)
    ban_after: int = setting(20, "failed proofs from one address before it is banned; 0: never", ge=0)
    ban_for: float = setting(3600.0, "seconds a ban lasts", gt=0)
    exempt: tuple[str, ...] = setting((), "addresses and networks that are never slowed and never banned")

    @field_validator("exempt")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a_network(text) for text in value)


class DnsSettings(Settings):
    """``[dns]``: who is asked for the names of carriers."""

    servers: tuple[str, ...] = setting((), 'resolvers, "IP" or "IP:port"; empty: those of the system')
    references: tuple[str, ...] = setting(
        (), "resolvers that check_dns compares ours with; empty: 8.8.8.8 and 1.1.1.1, or 119.29.29.29 and 223.5.5.5 for language zh"
    )
    timeout: float = setting(3.0, "seconds before a server counts as dead", gt=0)

    @field_validator("servers", "references")
    @classmethod
    def _are_servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            resolver_address(text)
        return value


class LogSettings(Settings):
    """``[log]``: what is written down."""

    path: str = setting("", "file of the log; empty: where twistd logs, on the screen with -n")
    format: Literal["text", "json"] = setting("text", "text, or one JSON object a line")
    level: Literal["debug", "info", "warn", "error", "critical"] = setting("info", "least important level that is written")


def _endpoint(value: str, example: str) -> str:
    """
    ``value``, if it is "" or can be listened on.

    Raises:
        ValueError: It cannot.
    """
    match = _ENDPOINT.fullmatch(value) if value else None
    if value and match is None:
        raise ValueError(f'cannot be listened on; write "{example}", or "" for none')
    if match is not None and match.group(1) is not None and int(match.group(1)) > 65535:
        raise ValueError("a port is at most 65535")
    return value


def resolver_address(text: str) -> tuple[str, int]:
    """
    ``"192.0.2.53"``, ``"192.0.2.53:5353"``, ``"2001:db8::53"`` or ``"[2001:db8::53]:53"`` as address and port.

    Raises:
        ValueError: It is none of them.
    """
    if is_address(text):
        return text, 53
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not is_address(host) or not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f'{text!r} is no resolver; write an address, or an address and a port: "192.0.2.53" or "192.0.2.53:5353"')
    return host, int(port)


def dialled(text: str) -> str:
    """
    ``text``, if it can be dialled.

    Raises:
        ValueError: It cannot.
    """
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"{text!r}: a prefix is made of digits, letters and * # + . _ -")
    return text
