"""
Writes ``docs/configuration.md``: every table and every setting, from the classes themselves.

``python -m pbx.settings_page > docs/configuration.md``; ``make docs`` does so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from pbx.config import CORE
from pbx.discovery import discover
from pbx.mistakes import as_toml
from pbx.plugin import Plugin
from pbx.settings import Settings

_HEAD = """# Configuration

One TOML file, `etc/pbx.toml` unless `--config` names another. Relative paths are relative to the working directory, a plugin's
settings are the table of its own name, unknown keys are refused. `twistd pbx --config FILE --check` tells every mistake at once.

This page is made from the settings' classes (`make docs`).

| setting | default | meaning |
|---|---|---|
| `language` | `"en"` | `"en"` or `"zh"`: prompts, texts and some defaults |
"""


def page() -> str:
    """The whole page."""
    found = discover()
    plugins = sorted({**found.plugins, **found.disabled}.items())
    sections = [_HEAD]
    for name, model in CORE.items():
        sections += _section(f"[{name}]", model)
    for name, plugin in plugins:
        sections += _plugin(name, plugin)
    return "\n".join(sections)


def _plugin(name: str, plugin: Plugin) -> Iterator[str]:
    if plugin.keyed is not None:
        yield from _section(f"[{name}.NAME]", plugin.keyed)
    elif plugin.settings is not None:
        yield from _section(f"[{name}]", plugin.settings)
    for table in ("extensions", "lines", "trunks"):
        model = plugin.settings_for(table)
        if model is not None:
            yield from _section(f"[{table}.NAME], from plugin {name}", model)


def _section(title: str, model: type[Settings]) -> Iterator[str]:
    yield f"## `{title}`\n\n{_first_words(model)}\n\n| setting | default | meaning |\n|---|---|---|"
    tables = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            tables.append((name, field.annotation))
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `{name}` | {_default(default)} | {meaning}{_choices(field.annotation)} |"
    yield ""
    for name, inner in tables:
        yield from _section(f"{title[:-1]}.{name}]", inner)


def _first_words(model: type[Settings]) -> str:
    words = (model.__doc__ or "").strip().split("\n\n")[0].replace("``", "`")
    # The class says which table it is of, and the title has just said so.
    words = re.sub(r"^`\[[^`]*\]`: ", "", " ".join(words.split()))
    return words[:1].upper() + words[1:]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be given"
    if value is None:
        return "unset"
    if isinstance(value, dict) and not value:
        return "`{}`"
    shown = as_toml(str(value) if isinstance(value, Path) else value.value if isinstance(value, Enum) else value)
    return f"`{shown}`" if shown else "see there"


def _choices(annotation: Any) -> str:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return f" ({', '.join(f'`{as_toml(choice)}`' for choice in choices)})" if choices else ""


if __name__ == "__main__":
    sys.stdout.write(page())
