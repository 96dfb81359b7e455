"""
The gate: what every message must satisfy before any other logic and before authentication.

RFC 3261 §8.1.1, §8.2, §18.3, §21.4; the answers are those that RFC 4475 asks for.
What has passed has a readable start line, top Via, From, To, Call-ID, CSeq, Contact
and Record-Route, so the properties of `Message` for these do not raise any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from pbx.sip import grammar
from pbx.sip.body import parts_of
from pbx.sip.errors import ParseError
from pbx.sip.headers import STAR, parse_cseq, parse_number
from pbx.sip.ids import COOKIE
from pbx.sip.message import Message, Request, Response
from pbx.sip.uri import OtherUri, SipUri


@dataclass(frozen=True, slots=True)
class Caps:
    """How much a peer may send."""

    message: int = 65536
    """Octets a message, body included."""
    line: int = 8192
    """Characters a header line, after unfolding; not below 2048, the size up to which lines are not measured one by one."""
    headers: int = 200
    """Header lines a message."""
    vias: int = 70
    contacts: int = 32
    parts: int = 10
    """Parts of a multipart body, with those that are in parts."""
    streams: int = 20
    """Media streams (``m=``) of a session description: each may cost four ports."""


DEFAULT_CAPS: Final = Caps()


class Fault:
    """Why a request is refused, and how."""

    __slots__ = ("answerable", "headers", "reason", "status")

    def __init__(self, status: int, reason: str = "", headers: str = "", *, answerable: bool = True) -> None:
        self.status = status
        self.reason = reason
        """Reason phrase that names the mistake; ``""`` for the usual one."""
        self.headers = headers
        """Header lines for the response, ready."""
        self.answerable = answerable
        """False: drop it without a word. An ACK is never answered (RFC 3261 §17), nor what names nobody to answer."""

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason}{'' if self.answerable else ', not answered'}>"


_plain_address: Final = grammar.PLAIN_ADDRESS.fullmatch
_plain_via: Final = grammar.PLAIN_VIA.fullmatch

# RFC 3261 §8.1.1. Max-Forwards may be missing (RFC 2543; RFC 4475 §3.4.1).
_NEEDED: Final = ("call-id", "cseq", "from", "to", "via")
_ALL_NEEDED: Final = frozenset(_NEEDED)
_ONCE: Final = ("call-id", "cseq", "from", "to", "max-forwards", "content-length", "content-type")
# RFC 3261 §20.22
_HOPS: Final = {str(hops): hops for hops in range(256)}
_CALLED: Final = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "from": "From",
    "to": "To",
    "via": "Via",
    "max-forwards": "Max-Forwards",
    "content-length": "Content-Length",
    "content-type": "Content-Type",
}


def check_request(request: Request, caps: Caps = DEFAULT_CAPS) -> Fault | None:
    """
    Say what is wrong with a request; None lets it through.

    Octets that follow the body, as Content-Length has it, are cut off (RFC 3261 §18.3).
    """
    fault = _check_request(request, caps)
    if fault is not None and (request.method == "ACK" or "via" not in request.headers):
        fault.answerable = False
    return fault


def _check_request(request: Request, caps: Caps) -> Fault | None:
    if request.version != "SIP/2.0":
        return Fault(505)
    if request.flaw:
        return Fault(400, request.flaw)
    if request.size > caps.message:
        return Fault(513)
    try:
        _check_common(request, caps)
        if request.body:
            _check_body(request, caps)
        if "contact" in request.headers:
            _check_contacts(request, caps)
        if "record-route" in request.headers:
            request.record_routes  # noqa: B018
        if request.cseq.method != request.method:
            return Fault(400, "CSeq method differs from the request's")
        if grammar.PLAIN_URI.fullmatch(request.target) is None:
            fault = _check_target(request)
            if fault is not None:
                return fault
        return _check_hops(request)
    except ParseError as error:
        return Fault(400, f"Malformed {error.what}")
    except _Refused as refused:
        return Fault(400, refused.reason)


def check_response(response: Response, caps: Caps = DEFAULT_CAPS) -> bool:
    """
    Whether a response may go on; otherwise it is dropped, as RFC 3261 §18.1.2 says.

    Octets that follow the body are cut off, and so are more Contacts than there may be. A broken Contact or Record-Route is
    removed, and so is a body with too many parts or streams: to lose a whole 200 for it would leave the far end with a call
    that nobody ends.
    """
    if response.version != "SIP/2.0" or response.flaw or not 100 <= response.status <= 699 or response.size > caps.message:
        return False
    headers = response.headers
    try:
        _check_common(response, caps)
        if response.body:
            try:
                _check_body(response, caps)
            except _Refused:
                response.body = b""
                response.forget("sdp")
        if "contact" in headers:
            try:
                _check_contacts(response, caps)
            except ParseError:
                del headers["contact"]
            except _Refused:
                response.contacts = response.contacts[: caps.contacts]  # type: ignore[index]  # a star is alone
    except (ParseError, _Refused):
        return False
    if "record-route" in headers:
        try:
            response.record_routes  # noqa: B018
        except ParseError:
            del headers["record-route"]
    return True


class _Refused(Exception):
    """The message breaks a rule that is no matter of grammar."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _check_common(message: Message, caps: Caps) -> None:
    headers = message.headers
    if message.header_count > caps.headers:
        raise _Refused("Too many header lines")
    if message.line_length > caps.line:
        raise _Refused("A header line that is too long")
    if not headers.keys() >= _ALL_NEEDED:
        missing = next(name for name in _NEEDED if name not in headers)
        raise _Refused(f"Missing {_CALLED[missing]}")
    if message.header_count != len(headers):
        _check_repeated(message, caps)
    if "content-length" in headers:
        # If not, the body is the rest of the datagram (RFC 3261 §18.3); streams are cut by Content-Length before.
        text = headers["content-length"][0]
        if text != str(len(message.body)):
            _check_length(message, text)
    # Read all that others rely on. What is plainly right is not parsed before
    # somebody asks for it; the values of the rest are kept, so nothing is done twice.
    plain = message.plain_via = _plain_via(headers["via"][0])
    if plain is None or plain[4] == COOKIE:
        _check_via(message, caps)
    message.call_id = headers["call-id"][0]
    if grammar.CALL_ID.fullmatch(message.call_id) is None:
        raise ParseError("Call-ID", "expected no blanks and no controls", message.call_id)
    message.cseq = parse_cseq(headers["cseq"][0])
    found = _plain_address(headers["from"][0])
    message.from_tag = message.from_.tag if found is None else found[1] or ""
    found = _plain_address(headers["to"][0])
    message.to_tag = message.to.tag if found is None else found[1] or ""


def _check_repeated(message: Message, caps: Caps) -> None:
    headers = message.headers
    for name in _ONCE:
        if name in headers and len(headers[name]) != 1:
            raise _Refused(f"More than one {_CALLED[name]}")
    if len(headers["via"]) > caps.vias:
        raise _Refused("Too many Via")


def _check_length(message: Message, text: str) -> None:
    length = parse_number(text, "Content-Length")
    if length > len(message.body):
        raise _Refused("Content-Length exceeds the body")
    message.body = message.body[:length]


def _check_body(message: Message, caps: Caps) -> None:
    kind = message.headers.get("content-type", ("",))[0]
    if kind != "application/sdp" and sum(1 for _ in islice(parts_of(kind, message.body), caps.parts + 1)) > caps.parts:
        raise _Refused("Too many body parts")
    sdp = message.sdp
    if sdp is not None and sdp.count("\nm=") > caps.streams:
        raise _Refused("Too many media streams")


def _check_via(message: Message, caps: Caps) -> None:
    """The topmost Via is not plain, or promises a unique branch and has none (RFC 4475 §3.2.1)."""
    vias = message.headers["via"]
    if message.via.branch == COOKIE:
        raise ParseError("Via", "expected a branch after the magic cookie", vias[0])
    if "," in "".join(vias) and len(message.all("via")) > caps.vias:
        raise _Refused("Too many Via")


def _check_contacts(message: Message, caps: Caps) -> None:
    lines = message.headers["contact"]
    if len(lines) == 1 and _plain_address(lines[0]) is not None:
        return
    contacts = message.contacts
    if contacts is not STAR and len(contacts) > caps.contacts:
        raise _Refused("Too many Contact")


def _check_target(request: Request) -> Fault | None:
    try:
        uri = request.uri
    except ParseError:
        return Fault(400, "Malformed Request-URI")
    if isinstance(uri, OtherUri):
        return Fault(416)
    if isinstance(uri, SipUri) and uri.headers:
        # RFC 3261 §19.1.1: no headers in a Request-URI.
        return Fault(400, "Malformed Request-URI")
    return None


def _check_hops(request: Request) -> Fault | None:
    text = request.first("max-forwards")
    if text is None:
        return None
    hops = _HOPS.get(text)
    if hops is None:
        hops = parse_number(text, "Max-Forwards", 255)  # with zeros before it, or broken
    # What goes no further than us is answered at any count (RFC 3261 §8.2, §9.2, §10.3).
    if hops == 0 and request.method not in ("ACK", "CANCEL", "REGISTER") and not request.to_tag:
        return Fault(483)
    return None
