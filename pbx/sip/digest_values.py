"""
The values of digest authentication: challenges, credentials, stored hashes, and how they are read (RFC 7616, RFC 3261 §25.1).

What is done with them is in `pbx.sip.digest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5, new, sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pbx.sip.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The hash of each algorithm: RFC 7616 §6.1. MD5 is here for the phones that know nothing else.
HASHES: dict[str, Callable[[bytes], Any]] = {"MD5": md5, "SHA-256": sha256, "SHA-512-256": partial(new, "sha512_256")}
STRENGTH = ("MD5", "SHA-256", "SHA-512-256")
# digest-cln and auth-param of RFC 3261 §25.1, and the ext-value name of RFC 7616 §3.4 ("username*").
# What is none is caught by the last group with all that follows, so that one `findall` covers the whole value, in linear time.
_PARAMETERS = re.compile(
    r"\s*+([\w!%'*+.`~-]++)\s*+=\s*+(?:\"([^\"\\]*+(?:\\.[^\"\\]*+)*+)\"|([^\s,\"]*+))\s*+(?:,\s*+|\Z)|(.+)", re.ASCII | re.DOTALL
).findall
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Ha1s:
    """What is kept instead of a password: H(user:realm:password) for each algorithm (RFC 7616 §3.4.2). As secret as the password."""

    of: dict[str, str] = field(repr=False)


def ha1s(user: str, realm: str, password: str) -> Ha1s:
    """The hashes of a user's password, made once, at start."""
    secret = octets(f"{user}:{realm}:{password}")
    return Ha1s({algorithm: hash_(secret).hexdigest() for algorithm, hash_ in HASHES.items()})


@dataclass(slots=True)
class Credentials:
    """An Authorization or Proxy-Authorization value (RFC 7616 §3.4); what was left out is ``""``."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    algorithm: str
    """As in `HASHES`; MD5 when left out (RFC 7616 §3.3)."""
    cnonce: str
    nc: str
    qop: str


def parse_credentials(text: str) -> Credentials:
    """
    Parse the value of an Authorization or Proxy-Authorization header field.

    Raises:
        ParseError: It is not of the Digest scheme, a parameter is malformed, or one stands there twice.
    """
    found = _parameters("Authorization", text)
    get = found.get
    username = get("username", "")
    if "username*" in found:
        if username:
            raise ParseError("Authorization", "expected username or username*, not both (RFC 7616 §3.4)", text)
        username = _extended(found["username*"])
    return Credentials(
        _unescaped(username), _unescaped(get("realm", "")), get("nonce", ""), get("uri", ""), get("response", ""),
        get("algorithm", "MD5").upper(), get("cnonce", ""), get("nc", ""), get("qop", ""),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value (RFC 7616 §3.3)."""

    realm: str
    nonce: str
    algorithm: str = ""
    """As the server wrote it; ``""`` when left out, which means MD5."""
    qop: tuple[str, ...] = ()
    """Empty for servers of RFC 2069."""
    opaque: str | None = None
    stale: bool = False
    userhash: bool = False

    @property
    def hash_name(self) -> str:
        """The algorithm without ``-sess``, in upper case."""
        return (self.algorithm or "MD5").upper().removesuffix("-SESS")

    @property
    def understood(self) -> bool:
        """True if `answer` can answer it."""
        return self.hash_name in HASHES and (not self.qop or "auth" in self.qop or "auth-int" in self.qop)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The digest challenges of a 401 or 407, in order; other schemes and what cannot be read are left out (RFC 3261 §22.1)."""
    challenges = []
    for value in values:
        try:
            found = _parameters("WWW-Authenticate", value)
        except ParseError:
            continue
        if "realm" not in found or not found.get("nonce"):
            continue
        qop = tuple(one.strip().lower() for one in found.get("qop", "").split(",") if one.strip())
        flags = [found.get(name, "").lower() == "true" for name in ("stale", "userhash")]
        challenges.append(
            Challenge(_unescaped(found["realm"]), found["nonce"], found.get("algorithm", ""), qop, found.get("opaque"), flags[0], flags[1])
        )
    return challenges


def strongest(challenges: Iterable[Challenge]) -> Challenge | None:
    """
    The challenge to answer: of those understood the one with the strongest hash, of equals the topmost.

    RFC 8760 §2.4 asks for the topmost unless local policy says otherwise; ours does, since an order costs nothing to change on the way.
    """
    return max((one for one in challenges if one.understood), key=lambda one: STRENGTH.index(one.hash_name), default=None)


def next_nonce(value: str) -> str:
    """The ``nextnonce`` of an Authentication-Info value, or ``""`` (RFC 7616 §3.5)."""
    try:
        return _parameters("Authentication-Info", f"Digest {value}").get("nextnonce", "")
    except ParseError:
        return ""


def _parameters(what: str, text: str) -> dict[str, str]:
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "digest":
        raise ParseError(what, "expected Digest", text)
    pairs = _PARAMETERS(rest)
    found = {name.lower(): quoted or plain for name, quoted, plain, _ in pairs}
    if "" in found:
        raise ParseError(what, "expected name=value pairs with commas between them", text)
    if len(found) != len(pairs):
        raise ParseError(what, "expected each parameter once (RFC 7616 §3.4)", text)
    return found


def _extended(value: str) -> str:
    # ext-value of RFC 5987: UTF-8''J%C3%A4s%C3%B8n
    charset, _, rest = value.partition("'")
    return unquote(rest.partition("'")[2]) if charset.lower() == "utf-8" else ""


def quoted(value: str) -> str:
    """
    ``value`` as a quoted-string.

    Raises:
        ValueError: It holds control characters.
    """
    if UNSAFE.search(value):
        raise ValueError("digest: control characters in a quoted value")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(r"\1", value) if "\\" in value else value


def octets(value: str) -> bytes:
    """``value`` as it is hashed and sent."""
    return value.encode("utf-8", "surrogateescape")
