"""
Digest authentication: RFC 7616 as SIP uses it (RFC 3261 §22, RFC 8760), both sides.

The server side is a `Challenger`; it makes nonces that carry their own proof, so a
challenge leaves nothing behind. The client side is `parse_challenges`, `strongest`
and `answer`. Pure: time comes in as ``now``, in seconds on a monotonic clock.
"""

from __future__ import annotations

import re
from enum import Enum
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING

from pbx.sip.digest_values import (
    HASHES,
    UNSAFE,
    Challenge,
    Credentials,
    Ha1s,
    ha1s,
    next_nonce,
    octets,
    parse_challenges,
    parse_credentials,
    quoted,
    strongest,
)
from pbx.sip.errors import ParseError
from pbx.sip.uri import equivalent, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "HASHES",
    "NONCE_LIFE",
    "Challenge",
    "Challenger",
    "Credentials",
    "Ha1s",
    "Proof",
    "answer",
    "ha1s",
    "next_nonce",
    "parse_challenges",
    "parse_credentials",
    "strongest",
]

NONCE_LIFE = 60.0
"""Seconds that a nonce is good for."""

_is_nonce_count = re.compile(r"[0-9a-fA-F]{8}", re.ASCII).fullmatch
_NONCE_LENGTH = 48


class Proof(Enum):
    """What credentials prove."""

    PROVEN = "proven"
    STALE = "stale"
    """The password is right, the nonce is not fresh (too old, or its count used before): challenge again with ``stale=True``."""
    WRONG = "wrong"
    """A wrong response to a nonce of ours that went to this very address: a failed proof, or there is no such user."""
    FOREIGN = "foreign"
    """Nothing that we asked for (not our nonce, other address, realm, URI, algorithm, no qop): challenge again; it counts against nobody.
    ``stale=True`` is kind to a phone whose address has changed, and says nothing of the password."""


class Challenger:
    """
    The server's side of digest for one realm.

    A nonce is its time of issue, a serial number and a keyed hash of both and of the
    address it went to. So nothing is kept for a challenge; only nonces that have
    authenticated stand in a table, with the highest count seen, for as long as they live.
    """

    __slots__ = (
        "_algorithms", "_counts", "_counts_before", "_heads", "_mac", "_most", "_nobody", "_not_before", "_serial", "_turned_at", "realm",
    )  # fmt: skip

    def __init__(self, secret: bytes, realm: str, algorithms: Sequence[str] = ("SHA-256", "MD5"), *, most_nonces: int = 50_000) -> None:
        """
        Args:
            secret: Keys the nonces; processes that share it accept each other's.
            realm: Shown to users by their phones, and part of every stored hash.
            algorithms: What is offered and accepted, the preferred one first.
            most_nonces: How many used nonces one generation of the table holds; there are two.

        Raises:
            ValueError: An algorithm that is not in `HASHES`, or a realm with control characters.
        """
        unknown = [algorithm for algorithm in algorithms if algorithm not in HASHES]
        if unknown or not algorithms:
            raise ValueError(f"digest algorithms: expected some of {', '.join(HASHES)}, found {', '.join(unknown) or 'none'}")
        self._algorithms = tuple(algorithms)
        self.realm = realm
        """The realm of all challenges."""
        self._heads = {
            (name, algorithm): (f'{name}: Digest realm={quoted(realm)}, nonce="', f'", algorithm={algorithm}, qop="auth"')
            for name in ("WWW-Authenticate", "Proxy-Authenticate")
            for algorithm in algorithms
        }
        # Keyed BLAKE2b (RFC 7693 §2.9) is a MAC by itself, at half the price of HMAC over SHA-256.
        # Made once and copied: the key need not be set up for each nonce.
        key = blake2b(secret, digest_size=32, person=b"pbx digest nonce").digest()
        self._mac = blake2b(key=key, digest_size=16)
        self._serial = 0
        # Stands in for the hashes of a user who does not exist, so that the same work is done.
        self._nobody = Ha1s({algorithm: hash_(key).hexdigest() for algorithm, hash_ in HASHES.items()})
        self._counts: dict[str, int] = {}
        self._counts_before: dict[str, int] = {}
        self._turned_at = self._not_before = float("-inf")
        self._most = most_nonces

    @property
    def nonces(self) -> int:
        """How many nonces stand in the table."""
        return len(self._counts) + len(self._counts_before)

    def challenge(
        self, address: str, now: float, stale: bool = False, algorithms: Sequence[str] | None = None, *, proxy: bool = False
    ) -> str:
        """
        Header lines for a 401 (with ``proxy``: a 407) to ``address``: one for each algorithm, the preferred one first (RFC 8760 §2.3).

        Args:
            address: The source address of the request; the nonce is good for it alone.
            now: Seconds, monotonic.
            stale: Tells the phone that its password was right and its nonce old (RFC 7616 §3.3).
            algorithms: Fewer than all: what this user may use.
            proxy: Write Proxy-Authenticate.
        """
        self._serial = (self._serial + 1) & 0xFFFFF
        # The serial number keeps phones behind one address apart that ask in the same millisecond.
        stamp = f"{int(now * 1000.0) & 0xFFFFFFFFFFF:011x}{self._serial:05x}"
        mac = self._mac.copy()
        mac.update(f"{stamp}{address}".encode())
        nonce = stamp + mac.hexdigest()
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        end = ", stale=true\r\n" if stale else "\r\n"
        wanted = self._algorithms if algorithms is None else [one for one in self._algorithms if one in algorithms]
        text = ""
        for algorithm in wanted or self._algorithms:
            head, tail = self._heads[name, algorithm]
            text += f"{head}{nonce}{tail}{end}"
        return text

    def find(self, values: Iterable[str]) -> Credentials | None:
        """The credentials for our realm among the lines of a request (RFC 3261 §22.3); what cannot be read is passed over."""
        for value in values:
            try:
                credentials = parse_credentials(value)
            except ParseError:
                continue
            if credentials.realm == self.realm:
                return credentials
        return None

    def check(
        self,
        credentials: Credentials,
        method: str,
        request_uri: str,
        secret: Ha1s | None,
        address: str,
        now: float,
        algorithms: Sequence[str] | None = None,
    ) -> Proof:
        """
        Judge credentials (RFC 7616 §3.4.1, §3.4.6).

        Args:
            credentials: As parsed.
            method: Of the request they came with.
            request_uri: Of the request they came with, as text.
            secret: What is kept for ``credentials.username``; None: there is no such user, and it takes as long to say so.
            address: The source address of the request.
            now: Seconds, monotonic.
            algorithms: Fewer than all: what this user may use.
        """
        nonce, algorithm, uri, nc = credentials.nonce, credentials.algorithm, credentials.uri, credentials.nc
        if algorithm not in self._algorithms or (algorithms is not None and algorithm not in algorithms):
            return Proof.FOREIGN
        # auth-int is not offered, and without qop a response could be replayed.
        if credentials.qop != "auth" or not credentials.cnonce or credentials.realm != self.realm or not _is_nonce_count(nc):
            return Proof.FOREIGN
        if len(nonce) != _NONCE_LENGTH or (uri != request_uri and not _same(uri, request_uri)):
            return Proof.FOREIGN
        stamp, response = nonce[:16], credentials.response.lower()
        hash_ = HASHES[algorithm]
        try:
            mac = self._mac.copy()
            mac.update(f"{stamp}{address}".encode())
            if not compare_digest(mac.hexdigest(), nonce[16:]):
                return Proof.FOREIGN
            ha2 = hash_(f"{method}:{uri}".encode()).hexdigest()
            ha1 = (self._nobody if secret is None else secret).of[algorithm]
            right = hash_(f"{ha1}:{nonce}:{nc}:{credentials.cnonce}:auth:{ha2}".encode()).hexdigest()
            if not compare_digest(right, response) or secret is None:
                return Proof.WRONG
        except (UnicodeEncodeError, TypeError):  # octets that are no UTF-8, or hex digits that are no ASCII
            return Proof.FOREIGN
        # Only now: stale is said to those alone who know the password (RFC 7616 §3.3).
        return self._count(nonce, int(stamp[:11], 16) / 1000.0, int(nc, 16), now)

    def _count(self, nonce: str, issued: float, nc: int, now: float) -> Proof:
        # From the future: made before the machine was started anew, when the clock began at zero again.
        if not -0.001 <= now - issued <= NONCE_LIFE or issued < self._not_before:
            return Proof.STALE
        if now - self._turned_at > NONCE_LIFE or len(self._counts) >= self._most:
            self._turn(now)
            return self._count(nonce, issued, nc, now)
        table = self._counts_before if nonce in self._counts_before else self._counts
        if nc <= table.get(nonce, 0):
            return Proof.STALE
        table[nonce] = nc
        return Proof.PROVEN

    def _turn(self, now: float) -> None:
        # What falls out of the table was issued before the older generation ended. Nonces of
        # that time are refused from now on, so nothing can be replayed, however full the table was.
        self._not_before = self._turned_at
        self._counts_before, self._counts = self._counts, {}
        self._turned_at = now


def answer(challenge: Challenge, method: str, uri: str, user: str, password: str, cnonce: str, nc: int, body: bytes = b"") -> str:
    """
    The Authorization or Proxy-Authorization value that answers ``challenge`` (RFC 7616 §3.4).

    Args:
        challenge: One that is `understood <Challenge.understood>`.
        method: Of the request.
        uri: Its Request-URI, as it will be sent.
        user: Who we are at that server.
        password: The secret shared with it.
        cnonce: A fresh token; with a ``-sess`` algorithm the same for the life of the nonce.
        nc: How many requests have used this nonce, this one included.
        body: Of the request; counts if only auth-int is offered.

    Raises:
        ValueError: A value holds control characters, or the challenge is not understood.
    """
    if not challenge.understood:
        raise ValueError(f"digest: cannot answer algorithm {challenge.algorithm!r} with qop {', '.join(challenge.qop)!r}")
    hash_ = HASHES[challenge.hash_name]
    qop = "auth" if "auth" in challenge.qop else "auth-int" if challenge.qop else ""
    session = challenge.algorithm.upper().endswith("-SESS")
    ha1 = hash_(octets(f"{user}:{challenge.realm}:{password}")).hexdigest()
    if session:
        ha1 = hash_(octets(f"{ha1}:{challenge.nonce}:{cnonce}")).hexdigest()
    entity = f":{hash_(body).hexdigest()}" if qop == "auth-int" else ""
    ha2 = hash_(octets(f"{method}:{uri}{entity}")).hexdigest()
    counted = f"{nc:08x}:{cnonce}:{qop}:" if qop else ""
    response = hash_(octets(f"{ha1}:{challenge.nonce}:{counted}{ha2}")).hexdigest()
    shown = hash_(octets(f"{user}:{challenge.realm}")).hexdigest() if challenge.userhash else user
    parts = [f"Digest username={quoted(shown)}, realm={quoted(challenge.realm)}", f'nonce="{challenge.nonce}"', f"uri={quoted(uri)}"]
    parts.append(f'response="{response}"')
    if challenge.algorithm:
        parts.append(f"algorithm={challenge.algorithm}")
    if qop:
        parts.append(f"qop={qop}, nc={nc:08x}")
    if qop or session:
        parts.append(f"cnonce={quoted(cnonce)}")
    if challenge.opaque is not None:
        parts.append(f'opaque="{challenge.opaque}"')
    if challenge.userhash:
        parts.append("userhash=true")
    value = ", ".join(parts)
    if UNSAFE.search(value):
        raise ValueError("digest: control characters in the challenge or in our own account")
    return value


def _same(uri: str, request_uri: str) -> bool:
    # The phone may have written the address a little differently: RFC 7616 §3.4 asks for the same resource.
    try:
        return equivalent(parse_uri(uri), parse_uri(request_uri))
    except ParseError:
        return False
