"""
The ground of all settings: frozen, strict, unknown keys refused, each field with its sentence.

`setting` declares a field; a class of them describes one table of ``pbx.toml``.
What needs two fields is checked in a pydantic ``model_validator``; a ``ValueError`` that
begins with ``"field: "`` is reported against that field.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+*")
"""What the key of an entry (``[extensions.KEY]``) may be made of, unless its class says otherwise."""


def setting(default: Any, text: str, *, secret: bool = False, **constraints: Any) -> Any:
    """
    Declare a setting.

    Args:
        default: The value when the file has none; ``...`` when it must have one.
        text: A sentence for the operator: meaning, unit, what the default stands for.
        secret: Never shown, in no message and no ``repr``.
        constraints: As pydantic's ``Field`` takes them: ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``, ``pattern``, ``min_length``...
    """
    extra: Any = {"secret": True} if secret else None
    if isinstance(default, dict | list | set):
        return Field(default_factory=default.copy, description=text, repr=not secret, json_schema_extra=extra, **constraints)
    return Field(default, description=text, repr=not secret, json_schema_extra=extra, **constraints)


def an_address(text: str) -> str:
    """
    Give ``text`` as an address is usually written, as it can be compared with another.

    Raises:
        ValueError: It is none.
    """
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an address such as 192.0.2.1 or 2001:db8::1 (a name does not do)") from None


def a_network(text: str) -> str:
    """
    Give ``text`` if it is an address or a network.

    Raises:
        ValueError: It is neither.
    """
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither an address nor a network such as 192.0.2.0/24") from None
    return text


class Settings(BaseModel):
    """One table of the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    _others: dict[str, Settings] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, value: Any) -> Any:
        # TOML knows lists and strings where the classes have tuples, sets, paths and enums. Strict
        # validation stays on for the rest: a port in quotes or 1 for true is a mistake worth naming.
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields
        return {key: _shaped(item, fields[key].annotation) if key in fields else item for key, item in value.items()}

    def of(self, plugin: str) -> Any:
        """
        The settings that ``plugin`` has declared for tables like this one (``extension_settings`` and its kin).

        Raises:
            LookupError: No such plugin is loaded, or it has declared none.
        """
        try:
            return self._others[plugin]
        except KeyError:
            raise LookupError(f"no plugin {plugin!r} has declared settings for {type(self).__name__}") from None

    def joined_by(self, others: dict[str, Settings]) -> Self:
        """A copy that answers `of` with ``others``, by plugin name."""
        copy = self.model_copy()
        copy._others = {**self._others, **others}
        return copy

    def __eq__(self, other: object) -> bool:
        # Classes of two generations of one plugin's code differ; what counts for "has it changed" is the content.
        return isinstance(other, Settings) and self.__dict__ == other.__dict__ and self._others == other._others

    def __hash__(self) -> int:
        return hash(type(self).__qualname__)

    @classmethod
    def check_key(cls, key: str) -> None:
        """
        Check the key of an entry, where this class describes the entries of a table of tables.

        Raises:
            ValueError: With the reason.
        """
        if not key or not KEY_CHARACTERS.issuperset(key):
            raise ValueError("a name is made of letters, digits and _ - . + *")

    @classmethod
    def check_entries(cls, entries: Mapping[str, Self]) -> Iterable[tuple[str, str, str, str]]:  # noqa: ARG003  # for those who have something to compare
        """
        Check the entries of a table of tables against each other.

        Returns:
            Of each mistake: the key of the entry, the setting in it, what is wrong, what to do.
        """
        return ()

    @classmethod
    def is_secret(cls, field: str) -> bool:
        """Whether values of ``field`` must never be shown."""
        info = cls.model_fields.get(field)
        return info is not None and isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("secret"))


def _shaped(value: Any, annotation: Any) -> Any:
    """``value`` as ``annotation`` wants it, where TOML has no such type; anything that does not fit stays as it is."""
    if get_origin(annotation) is Annotated:
        return _shaped(value, get_args(annotation)[0])
    if isinstance(value, list):
        return _shaped_list(value, annotation)
    if isinstance(value, dict):
        arguments = get_args(annotation) if get_origin(annotation) is dict else ()
        return {key: _shaped(item, arguments[1]) for key, item in value.items()} if len(arguments) == 2 else value
    if isinstance(value, str):
        for kind in _arms(annotation):
            if kind is Path:
                return Path(value)
            if isinstance(kind, type) and issubclass(kind, Enum) and value in {member.value for member in kind}:
                return kind(value)
    return value


def _shaped_list(value: list[Any], annotation: Any) -> Any:
    for kind in _arms(annotation):
        origin = get_origin(kind) or kind
        if origin not in (tuple, frozenset, set, list):
            continue
        inner = [argument for argument in get_args(kind) if argument is not Ellipsis]
        if origin is tuple and len(inner) == len(value) and get_args(kind)[-1:] != (Ellipsis,):
            return tuple(_shaped(item, wanted) for item, wanted in zip(value, inner, strict=True))
        items = [_shaped(item, inner[0] if inner else Any) for item in value]
        try:
            return origin(items)
        except TypeError:  # something unhashable for a set: the validator says it better
            return value
    return value


def _arms(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the annotation alone."""
    if get_origin(annotation) in (UnionType, Union):
        return get_args(annotation)
    return (annotation,)
