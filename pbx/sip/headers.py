"""
Values of header fields (RFC 3261 §20, §25.1): dataclasses with a parse function and ``str()``.

Each parse function takes unfolded text and is total: a value or `ParseError`.
Parameters are dictionaries with lower-case names, in order; None stands for one
without a value, and quotes are taken off here and put on again where needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from pbx.sip import grammar
from pbx.sip.errors import ParseError
from pbx.sip.uri import Uri, parse_uri

Parameters = dict[str, str | None]

MAX_NUMBER: Final = 2**32 - 1
"""Largest delta-seconds (RFC 3261 §20.19): what is larger is taken as this."""
MAX_CSEQ: Final = 2**31 - 1
"""Largest CSeq number (RFC 3261 §8.1.1.5)."""


class Star(Enum):
    """``Contact: *`` (RFC 3261 §10.2.2)."""

    STAR = "*"


STAR: Final = Star.STAR


@dataclass(slots=True)
class NameAddr:
    """The value of From, To, Contact, Route and their like: name-addr or addr-spec with parameters."""

    display: str
    """The display name without quotes; ``""`` if there is none."""
    uri: Uri
    parameters: Parameters = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag; ``""`` if there is none, as with RFC 2543 peers."""
        return self.parameters.get("tag") or ""

    def __str__(self) -> str:
        # Always with brackets, which are never wrong: without them the parameters of the URI would become ours.
        display = f"{quoted(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_parameters(self.parameters)}"


@dataclass(slots=True)
class Via:
    """One Via value (RFC 3261 §20.42)."""

    transport: str
    """Upper case."""
    host: str
    """As it came; IPv6 with its brackets."""
    port: int | None = None
    parameters: Parameters = field(default_factory=dict)

    @property
    def branch(self) -> str:
        """The branch; ``""`` if there is none (RFC 2543)."""
        return self.parameters.get("branch") or ""

    @property
    def received(self) -> str:
        """The source address written by a server, without brackets (RFC 5118 §4.5); ``""`` if there is none."""
        return (self.parameters.get("received") or "").strip("[]")

    @property
    def rport(self) -> int | None:
        """The source port written by a server (RFC 3581 §4); 0 if only asked for; None if not even that."""
        if "rport" not in self.parameters:
            return None
        text = self.parameters["rport"] or ""
        return int(text) if len(text) <= 5 and grammar.DIGITS.fullmatch(text) and int(text) <= 65535 else 0

    @property
    def sent_by(self) -> str:
        """``host`` or ``host:port``, as it came."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{format_parameters(self.parameters)}"


class CSeq(NamedTuple):
    """``314159 INVITE`` (RFC 3261 §20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class RAck:
    """``776656 1 INVITE``: which reliable response a PRACK is for (RFC 3262 §7.2)."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


@dataclass(frozen=True, slots=True)
class Reason:
    """``SIP;cause=200;text="Call completed elsewhere"`` (RFC 3326 §2)."""

    protocol: str
    cause: int | None = None
    text: str = ""

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        text = f";text={quoted(self.text)}" if self.text else ""
        return f"{self.protocol}{cause}{text}"


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """``1800;refresher=uac`` (RFC 4028 §4)."""

    seconds: int
    refresher: str = ""
    """``"uac"``, ``"uas"``, or ``""`` if it is left open."""

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else str(self.seconds)


@dataclass(frozen=True, slots=True)
class Replaces:
    """``call-id;to-tag=...;from-tag=...`` (RFC 3891 §6.1)."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{';early-only' if self.early_only else ''}"


@dataclass(frozen=True, slots=True)
class Item:
    """A value with parameters, as in Event, Subscription-State, Content-Type, Content-Disposition, Accept."""

    value: str
    """Lower case."""
    parameters: Parameters = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.value}{format_parameters(self.parameters)}"


_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def quoted(text: str) -> str:
    """``text`` as a quoted-string; control characters, which no header may carry safely, are left out."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_CONTROLS.sub("", text)}"'


def unquoted(text: str) -> str:
    """What a quoted-string says. Control characters are left out: the text goes to screens, logs and other messages."""
    text = text[1:-1]
    if "\\" in text:
        text = _PAIR.sub(r"\1", text)
    return text if text.isprintable() else _CONTROLS.sub("", text)


def format_parameters(parameters: Parameters) -> str:
    """Parameters as they are written after a value: ``;lr;expires=60``."""
    text = ""
    for name, value in parameters.items():
        if value is None:
            text += f";{name}"
        elif grammar.BARE_VALUE.fullmatch(value) or (name == "tag" and grammar.LOOSE_VALUE.fullmatch(value)):
            text += f";{name}={value}"
        else:
            text += f";{name}={quoted(value)}"
    return text


def parse_parameters(text: str, at: int = 0, what: str = "parameters") -> Parameters:
    """
    Parse ``;name=value`` pairs from column ``at`` to the end of ``text``.

    Raises:
        ParseError: An empty or repeated parameter (RFC 3261 §7.3.1), or a value that is neither token nor quoted.
    """
    parameters: Parameters = {}
    end = len(text)
    match = grammar.PARAMETER.match
    while at < end:
        found = match(text, at)
        if found is None:
            raise ParseError(what, "expected a parameter", text, at)
        name, bare, quotes = found.groups()
        name = name.lower()
        if name in parameters:
            raise ParseError(what, f"expected {name} once", text, at)
        parameters[name] = bare if quotes is None else unquoted(quotes)
        at = found.end()
    return parameters


def parse_name_addr(text: str, what: str = "address") -> NameAddr:
    """
    Parse ``"Bob" <sip:bob@host>;tag=1`` or ``sip:bob@host;tag=1``.

    Without brackets every ``;`` begins a parameter of the header, and a URI with
    ``?`` or ``,`` must have brackets (RFC 3261 §20).

    Raises:
        ParseError: ``text`` is outside RFC 3261 §25.1.
    """
    found = grammar.NAME_ADDR.match(text)
    if found is not None:
        quotes, words, address = found.groups()
        display = unquoted(quotes) if quotes is not None else words.strip(" \t")
        end = found.end()
        return NameAddr(display, _uri_of(address, what), parse_parameters(text, end, what) if end < len(text) else {})
    if "<" in text or '"' in text:
        raise ParseError(what, "expected a display name and an address in angle brackets", text)
    address, _, _ = text.partition(";")
    if "?" in address or "," in address:
        raise ParseError(what, "expected angle brackets around this address", text)
    return NameAddr("", _uri_of(address.strip(" \t"), what), parse_parameters(text, len(address), what))


def _uri_of(address: str, what: str) -> Uri:
    try:
        return parse_uri(address)
    except ParseError as error:
        raise ParseError(what, error.wanted, address, error.at) from None


def parse_contacts(values: Iterable[str]) -> list[NameAddr] | Literal[Star.STAR]:
    """
    Parse the Contact lines of a message; `STAR` for ``*``.

    Raises:
        ParseError: One is broken, or ``*`` is not alone (RFC 3261 §10.2.2).
    """
    contacts: list[NameAddr] = []
    star = False
    for line in values:
        for text in split_list(line):
            if text == "*":
                star = True
            else:
                contacts.append(parse_name_addr(text, "Contact"))
            if star and (contacts or text != "*"):
                raise ParseError("Contact", "expected * to be alone", line)
    return STAR if star else contacts


def parse_addresses(values: Iterable[str], what: str) -> list[NameAddr]:
    """
    Parse the lines of a list of addresses, as in Record-Route, Route, Path, Diversion.

    Raises:
        ParseError: One is broken.
    """
    return [parse_name_addr(text, what) for line in values for text in split_list(line)]


def parse_via(text: str) -> Via:
    """
    Parse one Via value.

    Raises:
        ParseError: ``text`` is outside RFC 3261 §25.1.
    """
    found = grammar.VIA.match(text)
    if found is None:
        raise ParseError("Via", "expected SIP/2.0/transport and host:port", text)
    transport, host, digits = found.groups()
    port = None if digits is None else int(digits)
    if port is not None and port > 65535:
        raise ParseError("Via", "expected a port below 65536", text, found.start(3))
    return Via(transport.upper(), host, port, parse_parameters(text, found.end(), "Via"))


def parse_cseq(text: str) -> CSeq:
    """
    Parse a CSeq value such as ``"314159 INVITE"``; the method keeps its case (§20.16).

    Raises:
        ParseError: ``text`` is outside RFC 3261 §25.1, or the number is 2**31 or more (§8.1.1.5).
    """
    # Remembered: most dialogs begin at 1, and each response has the CSeq of its request.
    return _parse_cseq_cached(text) if len(text) <= _CACHED_CSEQ else _parse_cseq(text)


def _parse_cseq(text: str) -> CSeq:
    found = grammar.CSEQ.fullmatch(text)
    if found is None:
        raise _broken_cseq(text)
    digits, method = found.groups()
    number = int(digits)
    if number > MAX_CSEQ:
        raise ParseError("CSeq", "expected a number below 2**31", text)
    return CSeq(number, method)


_CACHED_CSEQ: Final = 40
_parse_cseq_cached = lru_cache(maxsize=1024)(_parse_cseq)


def _broken_cseq(text: str) -> ParseError:
    digits = grammar.DIGITS.match(text)
    if digits is None:
        return ParseError("CSeq", "expected a number", text)
    if len(digits[0]) > 10:
        return ParseError("CSeq", "expected a number below 2**31", text)
    space = grammar.BLANKS.match(text, digits.end())
    if space is None:
        return ParseError("CSeq", "expected a space after the number", text, digits.end())
    return ParseError("CSeq", "expected a method", text, space.end())


def parse_rack(text: str) -> RAck:
    """
    Parse an RAck value such as ``"776656 1 INVITE"`` (RFC 3262 §7.2).

    Raises:
        ParseError: ``text`` is outside that, or a number is too large.
    """
    first, _, rest = text.partition(" ")
    rseq = parse_number(first, "RAck")
    cseq = parse_cseq(rest.lstrip(" \t"))
    return RAck(rseq, cseq.number, cseq.method)


def parse_item(text: str, what: str = "value") -> Item:
    """
    Parse a token, or two with a slash between, and parameters: ``refer;id=7``, ``application/sdp``.

    Raises:
        ParseError: ``text`` is anything else.
    """
    value, _, _ = text.partition(";")
    name = value.strip(" \t")
    first, slash, second = name.partition("/")
    for token in (first.rstrip(" \t"), second.lstrip(" \t")) if slash else (name,):
        if grammar.TOKEN.fullmatch(token) is None:
            raise ParseError(what, "expected a token", text)
    if slash:
        name = f"{first.rstrip()}/{second.lstrip()}"
    return Item(name.lower(), parse_parameters(text, len(value), what))


def parse_reason(text: str) -> Reason:
    """
    Parse one Reason value (RFC 3326 §2); the protocol is upper case.

    Raises:
        ParseError: ``text`` is outside its grammar.
    """
    item = parse_item(text, "Reason")
    cause = item.parameters.get("cause")
    return Reason(item.value.upper(), None if cause is None else parse_number(cause, "Reason"), item.parameters.get("text") or "")


def parse_session_expires(text: str) -> SessionExpires:
    """
    Parse a Session-Expires value (RFC 4028 §4).

    Raises:
        ParseError: Not seconds, or a refresher that is neither ``uac`` nor ``uas``.
    """
    seconds, _, _ = text.partition(";")
    refresher = (parse_parameters(text, len(seconds), "Session-Expires").get("refresher") or "").lower()
    if refresher not in ("", "uac", "uas"):
        raise ParseError("Session-Expires", "expected refresher=uac or refresher=uas", text, len(seconds))
    return SessionExpires(parse_seconds(seconds.strip(" \t"), "Session-Expires"), refresher)


def parse_replaces(text: str) -> Replaces:
    """
    Parse a Replaces value (RFC 3891 §6.1).

    Raises:
        ParseError: The Call-ID or one of the tags is missing.
    """
    call_id, _, _ = text.partition(";")
    parameters = parse_parameters(text, len(call_id), "Replaces")
    to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
    call_id = call_id.strip(" \t")
    if not to_tag or not from_tag or grammar.CALL_ID.fullmatch(call_id) is None:
        raise ParseError("Replaces", "expected a Call-ID, to-tag and from-tag", text)
    return Replaces(call_id, to_tag, from_tag, "early-only" in parameters)


def parse_number(text: str, what: str, most: int = MAX_NUMBER) -> int:
    """
    A number of at most ten digits and at most ``most``.

    Raises:
        ParseError: Anything else, signs, underscores and other people's digits included.
    """
    if len(text) > 10 or grammar.DIGITS.fullmatch(text) is None:
        raise ParseError(what, "expected a number of at most ten digits", text)
    number = int(text)
    if number > most:
        raise ParseError(what, f"expected at most {most}", text)
    return number


def parse_seconds(text: str, what: str = "seconds") -> int:
    """
    Delta-seconds (RFC 3261 §25.1); more than 2**32 - 1 counts as 2**32 - 1 (RFC 4475 §3.1.2.4).

    Raises:
        ParseError: Not digits.
    """
    if grammar.DIGITS.fullmatch(text) is None:
        raise ParseError(what, "expected a number", text)
    return min(int(text), MAX_NUMBER) if len(text) <= 10 else _beyond(text)


def _beyond(text: str) -> int:
    # int() of very many digits takes quadratic time and is refused by Python.
    short = text.lstrip("0")
    return min(int(short or "0"), MAX_NUMBER) if len(short) <= 10 else MAX_NUMBER


# What may hold a comma that separates nothing. Each alternative reaches the end of
# the text if it is not closed, so that no second one starts inside: linear.
_SEPARATOR: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|<[^>]*+>?+|,', re.DOTALL)


def split_list(text: str) -> list[str]:
    """The elements of a comma-separated list, stripped, empty ones left out; commas in quotes and ``<>`` separate nothing."""
    if "," not in text:
        text = text.strip(" \t")
        return [text] if text else []
    if '"' not in text and "<" not in text:
        return [part for piece in text.split(",") if (part := piece.strip(" \t"))]
    parts = []
    start = 0
    for found in _SEPARATOR.finditer(text):
        if found[0] == ",":
            parts.append(text[start : found.start()].strip(" \t"))
            start = found.end()
    parts.append(text[start:].strip(" \t"))
    return [part for part in parts if part]


_TAG: Final = re.compile(r";[ \t]*+tag[ \t]*+=[ \t]*+([^\x00-\x20\x7f;,\"<>]++)[ \t]*+(?=;|\Z)", re.IGNORECASE)


def tag_of(text: str) -> str:
    """
    The tag of a From or To value, without parsing the rest; ``""`` if there is none.

    Raises:
        ParseError: The value is unusual, had to be parsed, and is broken.
    """
    at = text.rfind(">")
    if '"' in text[at + 1 :]:
        # A bracket or a tag inside of quotes is none.
        return parse_name_addr(text).tag
    found = _TAG.search(text, at + 1)
    return found[1] if found is not None else ""
