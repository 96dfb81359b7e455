"""
DNS messages: questions written, answers read (RFC 1035 §4).

twisted.names writes the questions. Its reader sets no bound to the length of a name, so that one
bad datagram costs seconds; the one here reads the few kinds of records that lead to SIP servers,
in time that is linear in the number of records, and raises nothing but `MalformedAnswer`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from twisted.names import dns

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "AAAA": 28, "SRV": 33, "NAPTR": 35}
"""Record types as they are written, and their numbers."""
_NAMES = {number: name for name, number in KINDS.items()}

RESPONSES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
"""What response codes are called, by number."""

MOST_RECORDS = 256
"""Records in one answer; what has more is not read."""
_LONGEST_NAME = 255
_MOST_JUMPS = 32
"""Pointers in one name."""
_IN = 1
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ODD = re.compile(rb"[^A-Za-z0-9_-]")


class MalformedAnswer(Exception):
    """What has come is no answer that RFC 1035 §4 knows: the text says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record (RFC 2782). A target of "" ("." on the wire) says that the service is not to be had."""

    priority: int
    weight: int
    port: int
    target: str

    def __str__(self) -> str:
        return f"{self.priority} {self.weight} {self.port} {self.target}."


@dataclass(frozen=True, slots=True)
class NamingPointer:
    """A NAPTR record (RFC 3403 §4.1); ``service`` in capitals, ``flags`` in small letters."""

    order: int
    preference: int
    flags: str
    service: str
    expression: str
    replacement: str

    def __str__(self) -> str:
        return f'{self.order} {self.preference} "{self.flags}" "{self.service}" "{self.expression}" {self.replacement}.'


@dataclass(frozen=True, slots=True)
class Record:
    """
    One record.

    Attributes:
        name: Whose, in small letters, without the last dot.
        kind: ``"A"``, ``"SRV"``, ...
        ttl: Seconds that it may be kept.
        value: An address or a name (as str), a `Service`, a `NamingPointer`; of an SOA the seconds that "there is none" may be kept.
    """

    name: str
    kind: str
    ttl: int
    value: Any


@dataclass(frozen=True, slots=True)
class Message:
    """An answer: its sections without the records of kinds that nobody here wants."""

    question: tuple[str, str]
    """Name and kind."""
    response: str
    """``"NOERROR"``, ``"NXDOMAIN"``, ..."""
    truncated: bool
    recursion: bool
    """Whether the server asks others for us (RA)."""
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


def is_host_name(text: str) -> bool:
    """Whether ``text`` can be asked for: labels of small letters, digits, ``-`` and ``_``, at most 253 characters, no last dot."""
    return _HOST_NAME.fullmatch(text) is not None


def question(name: str, kind: str, id: int) -> bytes:
    """A question for a server that asks others (RD)."""
    message = dns.Message(id, recDes=1)
    message.addQuery(name, KINDS[kind], _IN)
    return message.toStr()


def read_answer(data: bytes) -> Message:
    """
    Read an answer; what stands in a truncated one is not looked at.

    Raises:
        MalformedAnswer: It is none.
    """
    if len(data) < 12:
        raise MalformedAnswer(f"{len(data)} octets are no DNS message")
    _, flags, questions, *counts = struct.unpack_from("!6H", data)
    if not flags & 0x8000:
        raise MalformedAnswer("a question came back")
    if questions != 1:
        raise MalformedAnswer(f"it answers {questions} questions")
    if sum(counts) > MOST_RECORDS:
        raise MalformedAnswer(f"it says that it holds {sum(counts)} records")
    response, truncated, recursion = flags & 0xF, bool(flags & 0x0200), bool(flags & 0x0080)
    try:
        name, at = _name(data, 12)
        kind, class_ = struct.unpack_from("!2H", data, at)
        at += 4
        sections: list[tuple[Record, ...]] = []
        for count in () if truncated else counts:
            records, at = _records(data, at, count)
            sections.append(records)
    except (struct.error, IndexError, ValueError):
        raise MalformedAnswer("it ends too early, or a record in it is broken") from None
    return Message(
        (name, _NAMES.get(kind, str(kind)) if class_ == _IN else ""),
        RESPONSES[response] if response < len(RESPONSES) else f"response code {response}",
        truncated,
        recursion,
        *sections,
    )


def _records(data: bytes, at: int, count: int) -> tuple[tuple[Record, ...], int]:
    found = []
    for _ in range(count):
        name, at = _name(data, at)
        number, class_, ttl, length = struct.unpack_from("!HHIH", data, at)
        at += 10
        if at + length > len(data):
            raise MalformedAnswer("it ends within a record")
        kind = _NAMES.get(number)
        if kind is not None and class_ == _IN:
            # RFC 2181 §8: a TTL with its highest bit set is zero.
            found.append(Record(name, kind, ttl if ttl < 2**31 else 0, _READ[kind](data, at, at + length)))
        at += length
    return tuple(found), at


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at ``at``, and where it ends. Each pointer must lead before the piece it stands in, so the walk ends."""
    labels: list[str] = []
    after, bound, size, jumps = 0, at, 0, 0
    while (length := data[at]) != 0:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | data[at + 1]
            jumps += 1
            if target >= bound or jumps > _MOST_JUMPS:
                raise MalformedAnswer("a pointer in a name leads in a circle, or through too many others")
            after = after or at + 2
            at = bound = target
            continue
        if length > 63:
            raise MalformedAnswer("a label of an unknown kind")
        label = data[at + 1 : at + 1 + length]
        size += length + 1
        if size >= _LONGEST_NAME or len(label) < length:
            raise MalformedAnswer("a name is longer than 255 octets, or cut")
        labels.append(_ODD.sub(lambda match: b"\\%03d" % ord(match.group()), label).decode("ascii").lower())
        at += length + 1
    return ".".join(labels), after or at + 1


def _address(data: bytes, at: int, end: int) -> str:
    return str(IPv4Address(data[at:end]))


def _long_address(data: bytes, at: int, end: int) -> str:
    return str(IPv6Address(data[at:end]))


def _alias(data: bytes, at: int, end: int) -> str:
    return _whole_name(data, at, end)


def _start_of_authority(data: bytes, at: int, end: int) -> int:
    _, at = _name(data, at)
    _, at = _name(data, at)
    if at + 20 != end:
        raise MalformedAnswer("a broken SOA record")
    minimum: int = struct.unpack_from("!I", data, at + 16)[0]
    return minimum


def _service(data: bytes, at: int, end: int) -> Service:
    priority, weight, port = struct.unpack_from("!3H", data, at)
    return Service(priority, weight, port, _whole_name(data, at + 6, end))


def _naming_pointer(data: bytes, at: int, end: int) -> NamingPointer:
    order, preference = struct.unpack_from("!2H", data, at)
    at += 4
    texts = []
    for _ in range(3):
        length = data[at]
        texts.append(_ODD_TEXT.sub("?", data[at + 1 : at + 1 + length].decode("latin-1")))
        at += length + 1
    flags, service, expression = texts
    return NamingPointer(order, preference, flags.lower(), service.upper(), expression, _whole_name(data, at, end))


_ODD_TEXT = re.compile(r"[^\x20-\x7e]")


def _whole_name(data: bytes, at: int, end: int) -> str:
    name, after = _name(data, at)
    if after != end:
        raise MalformedAnswer("a name that is longer or shorter than its record")
    return name


_READ: dict[str, Callable[[bytes, int, int], Any]] = {
    "A": _address,
    "NS": _alias,
    "CNAME": _alias,
    "SOA": _start_of_authority,
    "AAAA": _long_address,
    "SRV": _service,
    "NAPTR": _naming_pointer,
}
