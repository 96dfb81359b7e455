"""
Puts messages together: one f-string a message, encoded once.

Nothing with a CR, LF or NUL in it is written, whoever asks for it: values are
refused by ValueError here, which is our mistake and not the peer's. Values copied
from a received message were unfolded when it was split and hold none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.sip.headers import quoted

if TYPE_CHECKING:
    from pbx.sip.message import Message, Request

REASONS: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    433: "Anonymity Disallowed",
    436: "Bad Identity-Info",
    437: "Unsupported Certificate",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""Reason phrases as the RFCs have them (RFC 3261 §21 and the registry of IANA)."""


def _check(text: str) -> None:
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError(f"a line end or NUL in a header value: {text!r}")


def _check_lines(text: str) -> None:
    if not text.endswith("\r\n"):
        raise ValueError(f"header lines are made by lines(), and end in CRLF: {text!r}")


def lines(*pairs: tuple[str, str]) -> str:
    """
    Header lines from pairs of name and value, ready for ``extra`` and ``routes``.

    Raises:
        ValueError: A CR, LF or NUL in a name or value.
    """
    text = ""
    for name, value in pairs:
        _check(name)
        _check(value)
        text += f"{name}: {value}\r\n"
    return text


def warning(text: str) -> str:
    """A Warning line of ours: 399, for people to read (RFC 3261 §20.43)."""
    return lines(("Warning", f"399 pbx {quoted(text)}"))


class Outgoing:
    """A request of ours: its octets, and what is needed of it for the ACK and CANCEL that belong to its transaction."""

    __slots__ = (
        "body", "branch", "call_id", "content_type", "cseq", "data", "extra", "from_", "max_forwards", "method", "routes", "target", "to",
        "via",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        target: str,
        via: str,
        branch: str,
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        routes: str,
        data: bytes,
        extra: str,
        body: bytes,
        content_type: str,
        max_forwards: int,
    ) -> None:
        self.method = method
        self.target = target
        """The Request-URI."""
        self.via = via
        """The whole Via value."""
        self.branch = branch
        self.from_ = from_
        self.to = to
        self.call_id = call_id
        self.cseq = cseq
        """The CSeq number."""
        self.routes = routes
        """Route lines, ready."""
        self.data = data
        self.extra = extra
        """The other header lines, without credentials."""
        self.body = body
        self.content_type = content_type
        self.max_forwards = max_forwards

    def ack(self, response_to: str) -> bytes:
        """
        The ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).

        Args:
            response_to: The To value of that response.
        """
        return self._sibling("ACK", response_to, "")

    def cancel(self, reason_lines: str = "") -> bytes:
        """
        The CANCEL for this request (RFC 3261 §9.1).

        Args:
            reason_lines: Reason lines made by `lines` (RFC 3326).
        """
        if reason_lines:
            _check_lines(reason_lines)
        return self._sibling("CANCEL", self.to, reason_lines)

    def again(self, flow_via: str, branch: str, cseq: int, extra: str, credentials: str) -> Outgoing:
        """
        The same request once more, as a challenge or a 422 asks for it (RFC 3261 §22.2, RFC 4028 §7.3).

        Args:
            flow_via: The Via value up to the branch.
            branch: Another one.
            cseq: A higher number.
            extra: Header lines, in the place of those before.
            credentials: Authorization lines, or "".
        """
        return request(
            self.method,
            self.target,
            flow_via,
            branch,
            from_=self.from_,
            to=self.to,
            call_id=self.call_id,
            cseq=cseq,
            routes=self.routes,
            extra=extra,
            body=self.body,
            content_type=self.content_type,
            max_forwards=self.max_forwards,
            credentials=credentials,
        )

    def _sibling(self, method: str, to: str, extra: str) -> bytes:
        _check(to)
        return (
            f"{method} {self.target} SIP/2.0\r\nVia: {self.via}\r\nMax-Forwards: 70\r\n{self.routes}"
            f"From: {self.from_}\r\nTo: {to}\r\nCall-ID: {self.call_id}\r\nCSeq: {self.cseq} {method}\r\n"
            f"{extra}Content-Length: 0\r\n\r\n"
        ).encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return f"<{self.method} {self.target} {self.cseq}>"


def request(
    method: str,
    target: str,
    flow_via: str,
    branch: str,
    *,
    from_: str,
    to: str,
    call_id: str,
    cseq: int,
    routes: str = "",
    extra: str = "",
    body: bytes = b"",
    content_type: str = "",
    max_forwards: int = 70,
    credentials: str = "",
) -> Outgoing:
    """
    Build a request (RFC 3261 §8.1.1).

    Args:
        method: The method.
        target: The Request-URI.
        flow_via: The Via value up to the branch: `pbx.sip.flow.Flow.via`.
        branch: The branch, from `pbx.sip.ids.Ids.branch`.
        to: The To value; ``from_`` is the From value, with its tag.
        call_id: The Call-ID.
        cseq: The CSeq number.
        routes: Route lines made by `lines`.
        extra: All other header lines, made by `lines`.
        body: The body.
        content_type: Its type; needed if there is a body.
        max_forwards: Hops left (RFC 3261 §8.1.1.6).
        credentials: Authorization and Proxy-Authorization lines.

    Raises:
        ValueError: A CR, LF or NUL in a value, or a blank in ``method`` or ``target``.
    """
    via = f"{flow_via};branch={branch}"
    if " " in target or " " in method or "\t" in target:
        raise ValueError(f"a blank in a request line: {method!r} {target!r}")
    head = f"{method} {target}{via}{from_}{to}{call_id}{content_type}"  # one check for all: no separator hides a control
    _check(head)
    if routes:
        _check_lines(routes)
    if extra:
        _check_lines(extra)
    if credentials:
        _check_lines(credentials)
    typed = f"Content-Type: {content_type}\r\n" if body else ""
    data = (
        f"{method} {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: {max_forwards}\r\n{routes}"
        f"From: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"{extra}{credentials}{typed}Content-Length: {len(body)}\r\n\r\n"
    ).encode("utf-8", "surrogateescape")
    if body:
        data += body
    return Outgoing(method, target, via, branch, from_, to, call_id, cseq, routes, data, extra, body, content_type, max_forwards)


def response(
    request: Request, status: int, reason: str = "", to_tag: str = "", extra: str = "", body: bytes = b"", content_type: str = ""
) -> bytes:
    """
    Build a response (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq are those of the request, as far as it has them.

    Args:
        request: What is answered, stamped (`Request.stamp`).
        status: 100 to 699.
        reason: The reason phrase, if not the usual one.
        to_tag: Our tag, added if To has none.
        extra: Other header lines, made by `lines`. Responses that form dialogs need `record_route_lines`.
        body: The body.
        content_type: Its type; needed if there is a body.

    Raises:
        ValueError: A CR, LF or NUL in a value.
    """
    echo, tagged = request.echo or _echo(request)
    phrase = reason or REASONS.get(status, "")
    if reason or to_tag or body:
        _check(phrase + to_tag + content_type)
    if extra:
        _check_lines(extra)
    tag = f";tag={to_tag}" if to_tag and not tagged else ""
    timestamp = ""
    if status == 100 and "timestamp" in request.headers:
        # RFC 3261 §8.2.6.1
        timestamp = f"Timestamp: {request.headers['timestamp'][0]}\r\n"
    typed = f"Content-Type: {content_type}\r\n" if body else ""
    data = f"SIP/2.0 {status} {phrase}\r\n{echo}{tag}\r\n{timestamp}{extra}{typed}Content-Length: {len(body)}\r\n\r\n".encode(
        "utf-8", "surrogateescape"
    )
    return data + body if body else data


_ECHOED: Final = (("From: ", "from"), ("Call-ID: ", "call-id"), ("CSeq: ", "cseq"), ("To: ", "to"))


def _echo(request: Message) -> tuple[str, bool]:
    headers = request.headers
    parts = [f"Via: {value}" for value in headers.get("via", ())]
    # To is the last one, so that a tag can follow. A request that is refused for lack of one of these has fewer.
    for name, key in _ECHOED:
        values = headers.get(key)
        if values is not None:
            parts.append(name + values[0])
    tagged = "to" not in headers
    if not tagged:
        try:
            tagged = bool(request.to_tag)
        except ValueError:
            # The To that a 400 complains about goes back as it came.
            tagged = True
    request.echo = "\r\n".join(parts), tagged
    return request.echo


def record_route_lines(request: Request) -> str:
    """The Record-Route lines of a request, for its responses that form a dialog (RFC 3261 §12.1.1)."""
    return "".join([f"Record-Route: {value}\r\n" for value in request.headers.get("record-route", ())])
