"""The description of what can be asked over HTTP (OpenAPI 3.1), made from the table that routes requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx import __version__
from pbx.http.parameters import Parameters
from pbx.http.routes import JSON, PAGES, ROUTES, fields, or_null

if TYPE_CHECKING:
    from pbx.http.routes import Page, Route, Schema
    from pbx.operations.core import Operations
    from pbx.operations.operation import Operation

_ERROR: Schema = fields(error={"type": "string"}, field=or_null({"type": "string"}))
ERRORS = {
    400: "What was sent makes no sense: the field says where.",
    401: "No token, or one that is not known.",
    403: "It may not be done.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    500: "The exchange failed; its log tells more.",
    503: "Not now.",
    504: "It took too long.",
}
_OF_EVERY_OPERATION = (400, 401, 403, 404, 409, 500, 503, 504)
_OF_PAGES = (400, 401, 503)


def document(operations: Operations) -> dict[str, Any]:
    """All routes whose operations are there, and the pages."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        operation = operations.find(route.operation, controls=False)
        if operation is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation)
    for page in PAGES:
        paths[page.path] = {"get": _page(page)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pbx", "version": __version__, "description": "A telephone exchange."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    parameters = Parameters(operation.function)
    elsewhere = [name for name in parameters.names if name not in route.in_path]
    described: dict[str, Any] = {"operationId": route.operation, "summary": operation.help}
    told = [(name, "path") for name in route.in_path]
    statuses: tuple[int, ...] = _OF_EVERY_OPERATION
    if route.method == "GET":
        told += [(name, "query") for name in elsewhere]
    elif elsewhere:
        described["requestBody"] = _body(parameters, elsewhere)
        statuses = (*statuses, 413, 415)
    described["parameters"] = [
        {"name": name, "in": place, "required": place == "path" or name in parameters.required, "schema": parameters.text_schema(name)}
        for name, place in told
    ]
    described["responses"] = _responses(route.status, "The answer.", JSON, route.answer, statuses)
    return described


def _body(parameters: Parameters, names: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {name: parameters.schema(name) for name in names},
        "required": [name for name in names if name in parameters.required],
        "additionalProperties": False,
    }
    return {"required": True, "content": {JSON: {"schema": schema}}}


def _page(page: Page) -> dict[str, Any]:
    responses = _responses(200, page.summary, page.content_type, page.schema, _OF_PAGES)
    described: dict[str, Any] = {"operationId": page.name, "summary": page.summary, "responses": responses}
    return {**described, "security": []} if page.is_open else described


def _responses(status: int, words: str, content_type: str, schema: Schema, errors: tuple[int, ...]) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: dict[int, Any] = {status: {"description": words, "content": {content_type: {"schema": schema}}}}
    answers |= {one: {"description": ERRORS[one], "content": error} for one in errors}
    return {str(one): answer for one, answer in sorted(answers.items())}
