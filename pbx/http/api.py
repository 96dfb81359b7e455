"""
What is answered over HTTP: who asks, for which operation, with what, and the answer as JSON. No sockets.

Whatever is wrong gets one shape: ``{"error": SENTENCE, "field": NAME or null}``.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from twisted.internet.defer import Deferred, TimeoutError

from pbx.http.metrics import Metrics
from pbx.http.openapi import document
from pbx.http.parameters import Parameters, Unfit
from pbx.http.routes import JSON, METRICS, PAGES, ROUTES
from pbx.http.token import bearer, owner
from pbx.interfaces import Fault, OperationError
from pbx.log import Log
from pbx.operations.core import Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbx.http.metrics import Tally
    from pbx.http.routes import Route
    from pbx.operations.operation import Operation
    from pbx.service import PbxService

ANSWER_WITHIN = 30.0
"""Seconds that an operation may take."""
MOST_PARAMETERS = 32

_STATUS = {
    Fault.WRONG: 400,
    Fault.UNKNOWN: 404,
    Fault.FORBIDDEN: 403,
    Fault.CONFLICT: 409,
    Fault.OVERLOADED: 503,
    Fault.BROKEN: 500,
}

log = Log(namespace="pbx.http")


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request.

    Attributes:
        method: As it was sent.
        target: Path and query, as they were sent.
        peer: The address it came from.
        authorization: The Authorization headers.
        content_type: Of the body; "" for none.
        body: All of it.
    """

    method: str
    target: str
    peer: str
    authorization: Sequence[str] = ()
    content_type: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class _Refused(Exception):
    """The request goes no further."""

    def __init__(self, status: int, sentence: str, field: str = "", **headers: str) -> None:
        super().__init__(sentence)
        self.reply = error(status, sentence, field, headers)


class Api:
    """
    Answers requests.

    Args:
        service: The server.
        tally: Is told of its calls.

    Attributes:
        answered: How many, by status.
    """

    def __init__(self, service: PbxService, tally: Tally) -> None:
        self._service = service
        self.answered: Counter[int] = Counter()
        self._metrics = Metrics(service, tally, self.answered)
        self._next_line_at = float("-inf")

    async def reply(self, question: Question) -> Reply:
        """The answer to a request. Never raises."""
        try:
            reply = await self._reply(question)
        except _Refused as refused:
            reply = refused.reply
        except Exception:
            log.failure("a request broke: {method} {path}", method=question.method, path=question.target.partition("?")[0][:200])
            reply = error(500, "the exchange failed; its log tells more")
        self.answered[reply.status] += 1
        return reply

    async def _reply(self, question: Question) -> Reply:
        path, query = _parts(question.target)
        page = next((page for page in PAGES if page.path == path), None)
        who = "" if page is not None and page.is_open else self._who(question)
        if page is not None:
            _check_method(question.method, ["GET"])
            reply: Reply = getattr(self, page.name)(who)
            return reply
        route, in_path, operation = _find(question.method, path, Operations(self._service, who))
        parameters = Parameters(operation.function)
        try:
            arguments = parameters.read(_given(route, parameters, in_path, query, question))
        except Unfit as unfit:
            raise _Refused(400, str(unfit), unfit.field) from None
        return self._told(route, await self._carried_out(operation, arguments))

    def _who(self, question: Question) -> str:
        name = owner(bearer(question.authorization), self._service.loaded.configuration.http.tokens)
        if not name:
            self._log_stranger(question.peer)
            sentence = "a token is needed that is known here: Authorization: Bearer TOKEN"  # the same for none and for a wrong one
            raise _Refused(401, sentence, **{"WWW-Authenticate": 'Bearer realm="pbx"'})
        return f"{name}@{question.peer}"

    def _log_stranger(self, address: str) -> None:
        """A line such as the guard writes, but not more than one a second: over HTTP nobody is banned."""
        now = self._service.reactor.seconds()
        if now >= self._next_line_at:
            self._next_line_at = now + 1.0
            log.warn("auth-fail ip={ip} user=- why=no_such_token", ip=address)

    async def _carried_out(self, operation: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        try:
            value = operation(**arguments)
            if isinstance(value, Deferred):
                value = await value.addTimeout(ANSWER_WITHIN, self._service.reactor)
        except TimeoutError:
            raise _Refused(504, f"there was no answer within {ANSWER_WITHIN:.0f} s") from None
        except OperationError as problem:
            later = {"Retry-After": "1"} if problem.fault is Fault.OVERLOADED else {}
            raise _Refused(_STATUS[problem.fault], str(problem), problem.field, **later) from None
        return value.json() if hasattr(value, "json") else value

    def _told(self, route: Route, value: Any) -> Reply:
        headers = {}
        if route.status == 201 and isinstance(value, dict) and isinstance(value.get("id"), str):
            headers["Location"] = f"{route.path}/{quote(value['id'], safe='')}"
        return Reply(route.status, _encoded(value), headers=headers)

    # The pages: `pbx.http.routes.PAGES`

    def openapi(self, who: str) -> Reply:
        """The description of what can be asked."""
        return Reply(200, _encoded(document(Operations(self._service, who))))

    def metrics(self, who: str) -> Reply:
        """For Prometheus."""
        return Reply(200, self._metrics.text(), METRICS)

    def healthz(self, who: str) -> Reply:
        """Whether calls are taken."""
        refusing = self._service.refusing()
        return error(503, refusing) if refusing else Reply(200, _encoded({"status": "ok"}))


def error(status: int, sentence: str, field: str = "", headers: Mapping[str, str] | None = None) -> Reply:
    """What is wrong, in the one shape it has."""
    return Reply(status, _encoded({"error": sentence, "field": field or None}), headers=headers or {})


def _parts(target: str) -> tuple[str, str]:
    """Path and query of a request's target, of which a proxy may write all (RFC 9112 §3.2.2)."""
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, query
    try:
        whole = urlsplit(target)
    except ValueError:
        raise _Refused(400, "the target of the request is no URI") from None
    return whole.path or "/", whole.query


def _find(method: str, path: str, operations: Operations) -> tuple[Route, Mapping[str, str], Operation]:
    """Where a request goes, with the parameters in its path."""
    try:
        matching = [(route, values) for route in ROUTES if (values := route.match(path)) is not None]
    except UnicodeDecodeError:
        raise _Refused(400, "the path is not UTF-8") from None
    there = {
        route.method: (route, values, operation)
        for route, values in matching
        if (operation := operations.find(route.operation, controls=route.changes)) is not None
    }
    if not there:
        missing = next((route.missing for route, _ in matching), "there is nothing here; GET /api/openapi.json tells what there is")
        raise _Refused(404, missing)
    return there[_check_method(method, [*there])]


def _check_method(method: str, there: list[str]) -> str:
    """The method by which a request is served: HEAD is a GET whose answer goes without its body (RFC 9110 §9.3.2)."""
    served = "GET" if method == "HEAD" else method
    if served not in there:
        allowed = ", ".join([*there, *(["HEAD"] if "GET" in there else [])])
        raise _Refused(405, f"{allowed} can be done here", Allow=allowed)
    return served


def _given(route: Route, parameters: Parameters, in_path: Mapping[str, str], query: str, question: Question) -> dict[str, Any]:
    """The parameters of a request, which stand in its path, and in the query of a GET or in the body of what changes something."""
    in_query = _pairs(query)
    elsewhere: dict[str, Any] = in_query if not route.changes else {}
    if route.changes and in_query:
        raise Unfit(next(iter(in_query))[:200], "is not known in the query")
    if route.changes and len(parameters.names) > len(in_path):
        elsewhere = _content(question)
    for name in in_path:
        if name in elsewhere:
            raise Unfit(name, "stands in the path already")
    return {**parameters.typed(in_path), **(elsewhere if route.changes else parameters.typed(elsewhere))}


def _pairs(query: str) -> dict[str, str]:
    """The parameters of a query."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise _Refused(400, "the query is not UTF-8") from None
    except ValueError:
        raise _Refused(400, f"more than {MOST_PARAMETERS} parameters") from None
    return _once(pairs)


def _content(question: Question) -> dict[str, Any]:
    """The parameters in a body."""
    kind = question.content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON):
        raise _Refused(415, f"the body is to be {JSON}")
    try:
        value = json.loads(question.body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as problem:
        raise _Refused(400, f"the body is not UTF-8 at octet {problem.start}") from None
    except json.JSONDecodeError as problem:
        raise _Refused(400, f"the body is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}") from None
    except (ValueError, RecursionError):
        raise _Refused(400, "the body is not JSON: a number or a nesting that nobody needs") from None
    if not isinstance(value, dict):
        raise _Refused(400, "the body is to be an object, with a field for each parameter")
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(400, f"{twice[:200]}: is there more than once", twice[:200])
    return found


def _no_number(text: str) -> None:
    raise ValueError(text)


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
