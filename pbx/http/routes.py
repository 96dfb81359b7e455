"""
What can be asked over HTTP: one table, by which requests find their operation, and from which `pbx.http.openapi` is made.

An operation that is not there, because no plugin offers it, is answered with 404 and left out of the description.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TRUTH: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}


def fields(**kinds: Schema) -> Schema:
    """An object that has at least these."""
    return {"type": "object", "properties": kinds, "required": list(kinds)}


def and_perhaps(schema: Schema, **kinds: Schema) -> Schema:
    """The same object, which may have these too."""
    return {**schema, "properties": {**schema["properties"], **kinds}}


def rows(of: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": of}


def or_null(kind: Schema) -> Schema:
    """The same, or null."""
    return {**kind, "type": [kind["type"], "null"]}


@dataclass(frozen=True)
class Route:
    """
    A way to an operation.

    Attributes:
        method: ``"GET"`` looks and is not logged; all others change something.
        path: Segments in braces are parameters of the operation; the others stand in the query of a GET, else in the body, as JSON.
        operation: Its name.
        answer: JSON Schema of what it answers.
        missing: What is not there when nobody offers it.
        status: Of its answer.
    """

    method: str
    path: str
    operation: str
    answer: Schema
    missing: str = ""
    status: int = 200
    _segments: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_segments", tuple(self.path.split("/")))

    @property
    def changes(self) -> bool:
        """Whether it changes something, and is logged."""
        return self.method != "GET"

    @property
    def in_path(self) -> tuple[str, ...]:
        """The parameters that stand in the path."""
        return tuple(one[1:-1] for one in self._segments if one.startswith("{"))

    def match(self, path: str) -> Mapping[str, str] | None:
        """
        The parameters in ``path``; None: it is not this one.

        Raises:
            UnicodeDecodeError: A parameter is not UTF-8.
        """
        segments = path.split("/")
        if len(segments) != len(self._segments):
            return None
        found = {}
        for own, theirs in zip(self._segments, segments, strict=True):
            if own.startswith("{") and theirs:
                found[own[1:-1]] = unquote(theirs, errors="strict")
            elif own != theirs:
                return None
        return found


_CALL = fields(id=TEXT, caller=TEXT, dialled=TEXT, called=TEXT, phase=TEXT, seconds=NUMBER, legs=WHOLE)
_DETAILS = fields(
    call_id=TEXT,
    caller=TEXT,
    dialled=TEXT,
    called=TEXT,
    phase=TEXT,
    begun=TEXT,
    answered=or_null(TEXT),
    ended=or_null(TEXT),
    duration=or_null(NUMBER),
    outcome=or_null(TEXT),
    status=or_null(WHOLE),
    reason=or_null(TEXT),
    legs=rows(fields(peer=TEXT, uri=TEXT, status=WHOLE)),
    media=rows(ANYTHING),
    routing=rows(ANYTHING),
)
_DEVICE = fields(
    number=TEXT,
    contact=TEXT,
    address=or_null(TEXT),
    transport=TEXT,
    expires_in=WHOLE,
    reachable=TRUTH,
    user_agent=TEXT,
)
_LINE = fields(
    name=TEXT,
    state=TEXT,
    expires_in=or_null(WHOLE),
    server=TEXT,
    calls=WHOLE,
    last_failure=TEXT,
    warning=TEXT,
)
_EXPLAINED = fields(caller=TEXT, dialled=TEXT, called=TEXT, outcome=or_null(TEXT), trace=rows(ANYTHING), words=rows(TEXT))
_CALLBACK = and_perhaps(
    fields(id=TEXT, state=TEXT, called1=TEXT, called2=TEXT, caller1=TEXT, caller2=TEXT, maxduration=WHOLE),
    call_id=or_null(TEXT),
    result=or_null(WHOLE),
    duration=WHOLE,
    starttime=or_null(TEXT),
    cause=or_null(WHOLE),
)
_NO_CALLBACKS = "there are no callbacks here: no plugin offers them"

ROUTES: tuple[Route, ...] = (
    Route("POST", "/api/callbacks", "call_back", _CALLBACK, _NO_CALLBACKS, 201),
    Route("GET", "/api/callbacks/{id}", "callback", _CALLBACK, _NO_CALLBACKS),
    Route("DELETE", "/api/callbacks/{id}", "cancel_callback", _CALLBACK, _NO_CALLBACKS),
    Route("GET", "/api/calls", "calls", rows(_CALL)),
    Route("GET", "/api/calls/{id}", "call", _DETAILS),
    Route("DELETE", "/api/calls/{id}", "hang_up", fields(call_id=TEXT)),
    Route("GET", "/api/registrations", "registrations", rows(_DEVICE)),
    Route("GET", "/api/lines", "lines", rows(_LINE), "there are no lines here: no plugin offers them"),
    Route("GET", "/api/explain", "explain", _EXPLAINED),
)


@dataclass(frozen=True)
class Page:
    """
    What can be got over HTTP and is no operation; only by GET.

    Attributes:
        path: Where.
        name: Of the method of `pbx.http.api.Api` that makes it.
        summary: What it is.
        content_type: Of its body.
        schema: JSON Schema of its body.
        is_open: Whether it is given without a token.
    """

    path: str
    name: str
    summary: str
    content_type: str
    schema: Schema
    is_open: bool = False


JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

PAGES: tuple[Page, ...] = (
    Page("/api/openapi.json", "openapi", "This description.", JSON, ANYTHING),
    Page("/metrics", "metrics", "Counters and gauges in the text format of Prometheus.", METRICS, TEXT),
    Page("/healthz", "healthz", "Whether the exchange takes calls; for this no token is needed.", JSON, fields(status=TEXT), is_open=True),
)
