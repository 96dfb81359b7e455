"""What an operation wants to be told: read from the types of its function, checked, and described as JSON Schema."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import NoneType, SimpleNamespace
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

MOST_CHARACTERS = 256
Text = Annotated[str, Field(max_length=MOST_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What a text may be, unless its operation says more: one line, without control characters."""
NeededText = Annotated[Text, Field(min_length=1)]
"""The same where it has to be given: an empty one is as good as none."""
WholeNumber = Annotated[int, Field(ge=1 - 2**53, le=2**53 - 1)]
"""What every program that reads JSON can hold (RFC 8259 §6)."""

_STRICT = ConfigDict(strict=True, hide_input_in_errors=True, allow_inf_nan=False)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")
_IN_WORDS = {
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": f"must not be longer than {MOST_CHARACTERS} characters",
    "string_pattern_mismatch": "must be one line, without control characters",
    "string_unicode": "must be Unicode",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
}


class Unfit(Exception):
    """
    What was given does not fit.

    Attributes:
        field: The parameter.
    """

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field


class Parameters:
    """
    The parameters of one operation.

    Attributes:
        names: In the order of its function.
        required: Those that have to be given.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        types = _types(function, signature)
        self._checks: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind, config=_STRICT) for name, kind in types.items()}
        self._defaults = {name: one.default for name, one in signature.parameters.items() if one.default is not one.empty}
        self.names = tuple(types)
        self.required = tuple(name for name in types if name not in self._defaults)

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        The arguments for a call, from values as JSON has them.

        Raises:
            Unfit: One is missing, not known, or not of its type.
        """
        for name in given:
            if name not in self._checks:
                raise Unfit(name[:MOST_CHARACTERS], f"is not known here; there are {', '.join(self.names) or 'no parameters'}")
        for name in self.required:
            if name not in given:
                raise Unfit(name, "is missing")
        return {name: self._checked(name, value) for name, value in given.items()}

    def typed(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Texts from a path or a query as numbers and truths where such are wanted; what is none stays a text, which `read` refuses."""
        return {name: self._typed(name, text) for name, text in given.items()}

    def schema(self, name: str) -> dict[str, Any]:
        """What may be given for ``name``, as JSON Schema."""
        schema = self._checks[name].json_schema()
        if self._defaults.get(name) is not None:
            schema["default"] = self._defaults[name]
        return schema

    def text_schema(self, name: str) -> dict[str, Any]:
        """The same for a path or a query, where nothing is null: what is not given is left out."""
        schema = self.schema(name)
        kinds = [one for one in schema.pop("anyOf", ()) if one.get("type") != "null"]
        return {**schema, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})}

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self._checks[name].validate_python(value)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise Unfit(name, _IN_WORDS.get(detail["type"], detail["msg"])) from None

    def _typed(self, name: str, text: str) -> Any:
        if name not in self._checks:
            return text
        schema = self.schema(name)
        kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
        if "integer" in kinds and _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        return text == "true" if "boolean" in kinds and text in ("true", "false") else text


def _types(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The type of each parameter; only those are looked at, for others may be known to the type checker alone."""
    written = {name: one.annotation for name, one in signature.parameters.items() if one.annotation is not one.empty}
    inner = inspect.unwrap(getattr(function, "__func__", function))
    found = get_type_hints(SimpleNamespace(__annotations__=written), getattr(inner, "__globals__", {}), include_extras=True)
    return {name: _with_bounds(found.get(name, str), one.default is one.empty) for name, one in signature.parameters.items()}


def _with_bounds(kind: Any, needed: bool) -> Any:
    if kind is str:
        return NeededText if needed else Text
    if kind is int:
        return WholeNumber
    return Text | None if set(get_args(kind)) == {str, NoneType} else kind
