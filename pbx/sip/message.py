"""
Requests and responses (RFC 3261 §7), split but not interpreted.

`parse_message` cuts the octets into a start line, header values by name, and a body;
a value is parsed when somebody first asks for it, and kept. It refuses only what is
not SIP at all: what can still be answered carries its mistake in `Message.flaw`, and
`pbx.sip.gate` decides what becomes of it. Nothing but `ParseError` comes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from pbx.sip import grammar
from pbx.sip.body import sdp_of
from pbx.sip.errors import ParseError
from pbx.sip.headers import (
    STAR,
    CSeq,
    NameAddr,
    Star,
    Via,
    parse_addresses,
    parse_contacts,
    parse_cseq,
    parse_name_addr,
    parse_via,
    split_list,
    tag_of,
)
from pbx.sip.names import NAMES, long_name
from pbx.sip.transaction_key import transaction_key
from pbx.sip.uri import Uri, parse_uri

__all__ = ["Message", "Request", "Response", "parse_message", "transaction_key"]

if TYPE_CHECKING:
    from pbx.sip.flow import Flow

_METHODS: Final = frozenset(
    (
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "PRACK",
        "UPDATE",
        "INFO",
        "REFER",
        "SUBSCRIBE",
        "NOTIFY",
        "MESSAGE",
        "PUBLISH",
    )
)

_FOLD: Final = re.compile(r"[ \t]*+\r\n[ \t]++")


class Message:
    """
    What requests and responses share. Made by `parse_message`.

    The typed values below are parsed at the first access and kept. All of them raise
    `ParseError` where the header is missing or broken, and none does in a message that
    `pbx.sip.gate` has let through.
    """

    headers: dict[str, list[str]]
    """Lower-case long names to values, unfolded and stripped, in order."""
    body: bytes
    flaw: str
    """What is wrong with the start line or the shape of the header lines; ``""`` if nothing."""
    size: int
    """Octets in all."""
    header_count: int
    """Header lines."""
    line_length: int
    """At least the length of the longest line, in characters; exact in messages of 2 kB or more."""
    echo: tuple[str, bool] | None
    """Kept by `pbx.sip.build.response`: the header lines that every response repeats, and whether To has a tag."""

    via_read: bool
    """Whether `via` or `vias` has been asked for; spares `Request.stamp` to look."""

    plain_via: re.Match[str] | None
    """How the first Via line matches `pbx.sip.grammar.PLAIN_VIA`; None if it does not."""

    call_id: str
    """The Call-ID, compared octet for octet (RFC 3261 §20.8)."""
    cseq: CSeq
    """The CSeq (RFC 3261 §20.16)."""
    from_: NameAddr
    """The From (RFC 3261 §20.20)."""
    from_tag: str
    """The tag of From; ``""`` if there is none (RFC 2543)."""
    to: NameAddr
    """The To (RFC 3261 §20.39)."""
    to_tag: str
    """The tag of To; ``""`` if there is none: a request outside of dialogs (RFC 3261 §12.2)."""
    via: Via
    """The topmost Via (RFC 3261 §20.42)."""
    vias: list[Via]
    """All Vias, the topmost first."""
    contacts: list[NameAddr] | Literal[Star.STAR]
    """The Contacts; ``STAR`` for ``*``; empty if there is none."""
    record_routes: list[NameAddr]
    """The Record-Routes, in order (RFC 3261 §20.30)."""
    sdp: str | None
    """The session description in the body, also as a part of a multipart one; None if there is none."""

    def forget(self, *names: str) -> None:
        """Have typed values parsed anew at the next access, after a change to `headers`."""
        for name in names:
            try:
                delattr(self, name)
            except AttributeError:  # nobody has asked yet
                continue

    def first(self, name: str) -> str | None:
        """The first value of a header (``name`` long and lower case), None if it is not there."""
        values = self.headers.get(name)
        return values[0] if values is not None else None

    def all(self, name: str) -> list[str]:
        """The elements of a comma-separated header over all its lines (RFC 3261 §7.3.1)."""
        values = self.headers.get(name)
        return [] if values is None else [part for line in values for part in split_list(line)]

    def lists(self, name: str, token: str) -> bool:
        """Whether a header such as Supported, Require or Allow lists ``token``, in any case."""
        values = self.headers.get(name)
        if values is None:
            return False
        token = token.lower()
        for line in values:
            text = line.lower()
            if token in text:
                bare = text.replace(" ", "").replace("\t", "")
                if f",{token}," in f",{bare},":
                    return True
        return False

    def one(self, name: str, called: str) -> str:
        """
        The first value of a header that must be there.

        Raises:
            ParseError: It is not there; it says so of ``called``, the name as the RFC writes it.
        """
        values = self.headers.get(name)
        if values is None:
            raise ParseError(called, "expected this header", "")
        return values[0]

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact; None if there is none or it is ``*``."""
        contacts = self.contacts
        return contacts[0] if contacts is not STAR and contacts else None

    @property
    def content_type(self) -> str:
        """The media type in lower case without its parameters; ``""`` if there is none."""
        text = self.first("content-type")
        return text.partition(";")[0].strip(" \t").lower() if text is not None else ""

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Branch and sent-by of the topmost Via, as `transaction_key` finds them; the branch is empty with RFC 2543 peers."""
        via = self.via
        return via.branch.encode("utf-8", "surrogateescape"), via.sent_by.lower().encode("utf-8", "surrogateescape")


def _top_via(message: Message) -> Via:
    message.via_read = True
    text = message.one("via", "Via")
    return parse_via(text if "," not in text else (split_list(text) or [""])[0])


def _all_vias(message: Message) -> list[Via]:
    message.via_read = True
    return [parse_via(text) for text in message.all("via")]


class _Parsed:
    """A typed value that is made when it is first asked for, and stands in the message's own dictionary from then on, before this."""

    __slots__ = ("_name", "_parse")

    def __init__(self, name: str, parse: Callable[[Any], Any]) -> None:
        self._name = name
        self._parse = parse

    def __get__(self, message: Any, owner: object = None) -> Any:
        if message is None:
            return self
        value = self._parse(message)
        setattr(message, self._name, value)
        return value


_LAZY: Final[dict[str, Callable[[Any], Any]]] = {
    "call_id": lambda message: message.one("call-id", "Call-ID"),
    "cseq": lambda message: parse_cseq(message.one("cseq", "CSeq")),
    "from_": lambda message: parse_name_addr(message.one("from", "From"), "From"),
    "from_tag": lambda message: tag_of(message.one("from", "From")),
    "to": lambda message: parse_name_addr(message.one("to", "To"), "To"),
    "to_tag": lambda message: tag_of(message.one("to", "To")),
    "via": _top_via,
    "vias": _all_vias,
    "contacts": lambda message: parse_contacts(message.headers.get("contact", ())),
    "record_routes": lambda message: parse_addresses(message.headers.get("record-route", ()), "Record-Route"),
    "plain_via": lambda message: grammar.PLAIN_VIA.fullmatch(message.headers.get("via", [""])[0]),
    "sdp": lambda message: sdp_of(message.first("content-type") or "", message.body) if message.body else None,
    "uri": lambda request: parse_uri(request.target),
}
for _name, _parse in _LAZY.items():
    setattr(Message, _name, _Parsed(_name, _parse))


class Request(Message):
    """A request."""

    uri: Uri
    """The Request-URI."""
    back: Flow | None
    """Where the responses go, if not the way that the request came; set by whoever knows its sender (RFC 3261 §18.2.2)."""

    def __init__(self, method: str, target: str, headers: dict[str, list[str]], body: bytes, version: str = "SIP/2.0") -> None:
        self.method = method
        """As it came; methods are told apart by case (RFC 3261 §7.1)."""
        self.target = target
        """The Request-URI as text."""
        self.version = version
        """Upper case."""
        self.headers = headers
        self.body = body
        self.flaw = ""
        self.size = self.line_length = self.header_count = 0
        self.echo = None
        self.via_read = False
        self.back = None
        if not body:
            self.sdp = None

    def stamp(self, host: str, port: int) -> None:
        """
        Write where the request came from into its topmost Via.

        ``received`` if sent-by says something else (RFC 3261 §18.2.1) or if rport is asked
        for, and then the port as well (RFC 3581 §4). What the sender had written there itself goes.
        A broken Via stays as it is, for the 400 that it earns.

        Args:
            host: Source address of the packet, IPv6 without brackets.
            port: Its source port.
        """
        plain = self.plain_via
        if plain is not None and not (plain[3] or plain[6] or plain[7] or plain[9]):
            # The usual case, without a parse: there is nothing to take out, so only add.
            line = plain.string
            at = max(plain.end(2), plain.end(5), plain.end(8))
            if at >= 0:
                self.headers["via"][0] = f"{line[:at]}={port}{line[at:]};received={host}"
            elif plain[1].lower() != host:
                self.headers["via"][0] = f"{line};received={host}"
            else:
                return
            self.echo = None
            self.forget("plain_via")
            if self.via_read:
                self.forget("via", "vias")
            return
        try:
            via = self.via
        except ParseError:
            return
        parameters = via.parameters
        asked = "rport" in parameters
        same = via.host.strip("[]").lower() == host
        if same and not asked and "received" not in parameters:
            return
        parameters.pop("received", None)
        if asked:
            parameters["rport"] = str(port)
        if asked or not same:
            parameters["received"] = host
        lines = self.headers["via"]
        lines[0] = ", ".join([str(via), *split_list(lines[0])[1:]])
        self.echo = None
        self.forget("vias", "plain_via")

    def __repr__(self) -> str:
        return f"<{self.method} {self.target}>"


class Response(Message):
    """A response."""

    def __init__(self, status: int, reason: str, headers: dict[str, list[str]], body: bytes, version: str = "SIP/2.0") -> None:
        self.status = status
        """Three digits; not necessarily 100 to 699."""
        self.reason = reason
        self.version = version
        """Upper case."""
        self.headers = headers
        self.body = body
        self.flaw = ""
        self.size = self.line_length = self.header_count = 0
        self.echo = None
        self.via_read = False
        if not body:
            self.sdp = None

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason}>"


def parse_message(data: bytes) -> Request | Response:
    """
    Split a datagram, or a message cut out of a stream.

    The body is all that follows the empty line: Content-Length is checked by `pbx.sip.gate`.

    Raises:
        ParseError: ``data`` does not begin like a SIP message.
    """
    end = data.find(b"\r\n\r\n")
    flaw = ""
    if end >= 0:
        text = str(data[:end], "utf-8", "surrogateescape")
        body = data[end + 4 :]
    else:
        text = data.decode("utf-8", "surrogateescape").removesuffix("\r\n")
        body = b""
        flaw = "No empty line after the headers"
    lines = text.split("\r\n")
    count = len(lines) - 1
    if text.count("\r") != count or text.count("\n") != count:
        # What one server takes for a line end and the next one does not smuggles headers.
        flaw = "A line end that is not CRLF"
        text = "\r\n".join([line.replace("\r", " ").replace("\n", " ") for line in lines])
        lines = text.split("\r\n")
    headers = _split_headers(lines)
    if headers is None:
        lines = _FOLD.sub(" ", text).split("\r\n")
        headers = _split_headers(lines) or {}
    message = _start(lines[0], headers, body)
    if "" in headers:
        del headers[""]
        flaw = flaw or "A header line without a name and a colon"
    if flaw and not message.flaw:
        message.flaw = flaw
    message.size = message.line_length = len(data)
    message.header_count = count
    if len(data) >= 2048:
        message.line_length = max(map(len, lines))
    return message


def _split_headers(lines: list[str]) -> dict[str, list[str]] | None:
    """Header lines by name, those without one under ``""``; None if there is a folded line among them."""
    headers: dict[str, list[str]] = {}
    names = NAMES
    for line in lines[1:]:
        raw, colon, value = line.partition(":")
        name = names.get(raw)
        if name is None:
            if line[:1] == " " or line[:1] == "\t":
                return None
            name = long_name(raw) if colon else ""
        if name in headers:
            headers[name].append(value.strip(" \t"))
        else:
            headers[name] = [value.strip(" \t")]
    return headers


def _start(line: str, headers: dict[str, list[str]], body: bytes) -> Request | Response:
    if line[:8] == "SIP/2.0 " and line[11:12] == " " and line[8:11].isdigit() and line.isascii():
        return Response(int(line[8:11]), line[12:], headers, body)
    if line[-8:] == " SIP/2.0":
        method, _, target = line[:-8].partition(" ")
        if method in _METHODS and target and " " not in target and "\t" not in target:
            return Request(method, target, headers, body)
    found = grammar.REQUEST_LINE.fullmatch(line)
    if found is not None:
        method, target, version = found.groups()
        return Request(method, target, headers, body, version.upper())
    found = grammar.STATUS_LINE.fullmatch(line)
    if found is not None:
        version, digits, reason = found.groups()
        return Response(int(digits), reason or "", headers, body, version.upper())
    found = grammar.LOOSE_REQUEST_LINE.fullmatch(line)
    if found is None or found[1].upper().startswith("SIP/"):
        raise ParseError("message", "expected a request line or a status line", line)
    method, target, version = found.groups()
    request = Request(method, target, headers, body, version.upper())
    request.flaw = "Malformed request line"
    return request
