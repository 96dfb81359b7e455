"""
The datagrams between an application server and the callback port: their grammar, and nothing else. Text, one message each:

    REQUEST: id=7f3a, called1=101, called2=913901088888, caller1=2001, caller2=2001, maxduration=3600
    ACK: id=7f3a, result=0
    RESPONSE: id=7f3a, result=0, duration=125, starttime=20260101T101500Z, cause=16
    CANCEL: id=7f3a

With a secret, ``, hmac=HEX`` ends each: HMAC-SHA256, by the secret, of all octets before it.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum


class Method(Enum):
    """What a message is."""

    REQUEST = "REQUEST"
    ACK = "ACK"
    RESPONSE = "RESPONSE"
    CANCEL = "CANCEL"


ALIASES: dict[str, Method | str] = {
    "request": Method.REQUEST,
    "ack": Method.ACK,
    "response": Method.RESPONSE,
    "cancel": Method.CANCEL,
    "id": "id",
    "called1": "called1",
    "called2": "called2",
    "caller1": "caller1",
    "caller2": "caller2",
    "maxduration": "maxduration",
    "time": "time",
    "hmac": "hmac",
    "result": "result",
    "duration": "duration",
    "starttime": "starttime",
    "cause": "cause",
}
"""What may be written, in small letters, to what is meant: methods and parameters. Any other parameter is the application server's own."""

LARGEST = 1400
"""Octets of a datagram; a larger one is not read."""
LONGEST_ID = 64
_SIGNATURE = b", hmac="
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")


class Dropped(Exception):
    """A datagram that gets no answer; ``reason`` is a word or two, under which it is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Datagram:
    """
    One message.

    Attributes:
        method: One of the four.
        id: Of the callback.
        pairs: Its other parameters, as `ALIASES` names them.
        others: The parameters that `ALIASES` does not know, with their names in small letters, in their order.
        is_sound: False when there is a pair without ``=`` or without a name or a value, or the same one twice, or the id is too long.
        signature: What follows ``hmac=``, where that was asked for; "" otherwise.
    """

    method: Method
    id: str
    pairs: Mapping[str, str]
    others: tuple[tuple[str, str], ...] = ()
    is_sound: bool = True
    signature: str = ""


def read(data: bytes, secret: str = "") -> Datagram:
    """
    Read a datagram; with a ``secret``, only one that is signed with it.

    Raises:
        Dropped: It is none, or nobody could be answered.
    """
    if len(data) > LARGEST:
        raise Dropped("too large")
    signature = ""
    if secret:
        data, signature = _checked(data, secret)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Dropped("not UTF-8") from None
    if not text.isprintable() and any(unicodedata.category(letter) == "Cc" for letter in text):
        raise Dropped("control characters")
    word, colon, rest = text.partition(":")
    if not colon:
        raise Dropped("no method")
    method = ALIASES.get(word.strip().lower())
    if not isinstance(method, Method):
        raise Dropped("unknown method")
    return _message(method, rest, signature)


def _checked(data: bytes, secret: str) -> tuple[bytes, str]:
    """The part that is signed, and its signature, which fits."""
    signed, _, signature = data.rpartition(_SIGNATURE)
    if not hmac.compare_digest(sign(signed, secret), signature.strip().lower()):
        raise Dropped("wrong hmac")
    return signed, signature.strip().lower().decode()


def _message(method: Method, rest: str, signature: str) -> Datagram:
    pairs: dict[str, str] = {}
    others: dict[str, str] = {}
    is_sound = True
    for piece in rest.replace(";", ",").split(","):
        name, equals, value = (part.strip() for part in piece.partition("="))
        name = name.lower()
        known = ALIASES.get(name)
        into, key = (pairs, known) if isinstance(known, str) else (others, name)
        if not (name and equals and value) or key in into:
            is_sound = False
        else:
            into[key] = value
    own = pairs.pop("id", "")
    if not own:
        raise Dropped("no id")
    return Datagram(method, own, pairs, tuple(others.items()), is_sound and len(own) <= LONGEST_ID, signature)


def written(method: Method, pairs: Iterable[tuple[str, object]], secret: str = "") -> bytes:
    """The octets of a message."""
    data = f"{method.value}: {', '.join(f'{name}={value}' for name, value in pairs)}".encode()
    return data + _SIGNATURE + sign(data, secret) if secret else data


def sign(data: bytes, secret: str) -> bytes:
    """What follows ``hmac=``."""
    return hmac.digest(secret.encode(), data, "sha256").hex().encode()


def stamp(at: float) -> str:
    """Unix time as it is written in ``time`` and ``starttime``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def moment(text: str) -> float | None:
    """Unix time of such a stamp; None: it is none."""
    if not _STAMP.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
