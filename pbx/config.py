"""
The configuration: one TOML file, read into frozen settings, every mistake told at once.

`load` is used at the start and at each reload; it has no effect but to import plugins, so that a
bad file changes nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pbx.core_settings import (
    CapsSettings,
    DnsSettings,
    GuardSettings,
    HttpSettings,
    LogSettings,
    MediaSettings,
    PluginsSettings,
    RoutingSettings,
    ShellSettings,
    SipSettings,
    StoreSettings,
    resolver_address,
)
from pbx.discovery import Discovered, asking_order, discover, shown
from pbx.mistakes import ConfigurationError, Mistake, Source, as_toml, mistakes_of, suggestion
from pbx.plugin import Plugin
from pbx.settings import Settings, setting

__all__ = [
    "CapsSettings",
    "Configuration",
    "ConfigurationError",
    "DnsSettings",
    "GuardSettings",
    "HttpSettings",
    "Loaded",
    "LogSettings",
    "MediaSettings",
    "Mistake",
    "PluginsSettings",
    "RoutingSettings",
    "Settings",
    "ShellSettings",
    "SipSettings",
    "StoreSettings",
    "compare",
    "load",
    "loads",
    "read_entries",
    "resolver_address",
    "setting",
]

CORE: dict[str, type[Settings]] = {
    "sip": SipSettings,
    "media": MediaSettings,
    "store": StoreSettings,
    "shell": ShellSettings,
    "http": HttpSettings,
    "plugins": PluginsSettings,
    "routing": RoutingSettings,
    "guard": GuardSettings,
    "dns": DnsSettings,
    "log": LogSettings,
}
"""The tables of the core, by name."""

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Configuration:
    """All settings of one file."""

    language: Literal["en", "zh"] = "en"
    sip: SipSettings = field(default_factory=SipSettings)
    media: MediaSettings = field(default_factory=MediaSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    shell: ShellSettings = field(default_factory=ShellSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    plugins: PluginsSettings = field(default_factory=PluginsSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tables: Mapping[str, Any] = field(default_factory=dict)
    """The plugins' tables: a `Settings`, or a dict of them by key where the plugin is keyed; None where it has none."""

    def of(self, plugin: str) -> Any:
        """
        The settings of ``plugin``.

        Raises:
            LookupError: No such plugin was loaded.
        """
        try:
            return self.tables[plugin]
        except KeyError:
            raise LookupError(f"no plugin {plugin!r} was loaded with this configuration") from None

    @property
    def realm(self) -> str:
        """The realm of digest challenges: ``[sip] realm``, else the domain, else ``"pbx"``."""
        return self.sip.realm or self.sip.domain or "pbx"


@dataclass(frozen=True)
class Loaded:
    """A configuration that is fit to run, and the plugins it belongs to."""

    configuration: Configuration
    plugins: Mapping[str, Plugin]
    """The plugins to run, by name."""
    path: Path
    """The file, absolute: twistd changes its working directory."""
    order: tuple[str, ...] = ()
    """The plugins in the order in which ``[routing] order`` has them asked; those that route nothing are among them."""


def load(path: str | Path, *, instead: Mapping[str, Plugin] | None = None) -> Loaded:
    """
    Read, discover, validate.

    Args:
        path: The TOML file.
        instead: Plugins to be taken for the loaded ones of the same names (`pbx.discovery.load_again`).

    Raises:
        ConfigurationError: With every mistake of file and plugins.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        remedy = "give the path of the file with --config" if isinstance(error, FileNotFoundError) else "see to its permissions"
        raise ConfigurationError([Mistake(str(path), "", "", f"cannot be read: {error.strerror}", remedy)]) from None
    except UnicodeDecodeError as error:
        remedy = "save it in that encoding"
        raise ConfigurationError([Mistake(str(path), "", "", f"is not UTF-8 at octet {error.start}", remedy)]) from None
    return loads(text, path=file, instead=instead)


def loads(
    text: str,
    *,
    path: Path = Path("pbx.toml"),
    instead: Mapping[str, Plugin] | None = None,
    find: Callable[[Iterable[Path], Collection[str]], Discovered] = discover,
) -> Loaded:
    """As `load`, from ``text``; ``find`` is asked for the plugins."""
    source = Source(str(path), text)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([Mistake(str(path), "", "", f"is not TOML: {error}", "mend that line")]) from None
    core, mistakes = _core(raw, source)
    plugins_settings = core["plugins"] if isinstance(core["plugins"], PluginsSettings) else PluginsSettings()
    found = find(plugins_settings.path, plugins_settings.disabled)
    mistakes += [one if one.file else source.mistake(one.key, one.value, one.reason, one.remedy) for one in found.mistakes]
    for name, plugin in (instead or {}).items():
        if name in found.plugins:
            found.plugins[name] = plugin
    everything = {**found.plugins, **found.disabled}
    mistakes += _clashing_keys(everything)
    tables: dict[str, Any] = {}
    for name, plugin in sorted(everything.items()):
        tables[name], wrong = read_table(plugin, raw.get(name, {}), everything, source)
        mistakes += wrong
    for key in raw.keys() - CORE.keys() - everything.keys() - {"language"}:
        mistakes.append(_unknown_table(key, raw[key], source, (*CORE, *everything, "language"), plugins_settings))
    if isinstance(core["routing"], RoutingSettings):
        mistakes += _order_mistakes(core["routing"], found, source)
    if mistakes:
        raise ConfigurationError(sorted(mistakes, key=lambda mistake: (mistake.file != source.file, mistake.line)))
    configuration = Configuration(**core, tables=tables)
    order = asking_order(configuration.routing.order, found.plugins)
    return Loaded(configuration, dict(sorted(found.plugins.items())), path.absolute(), tuple(order))


def _core(raw: Mapping[str, Any], source: Source) -> tuple[dict[str, Any], list[Mistake]]:
    core: dict[str, Any] = {"language": raw.get("language", "en")}
    mistakes = []
    if core["language"] not in LANGUAGES:
        remedy = 'write language = "en" or language = "zh"'
        mistakes.append(source.mistake("language", as_toml(core["language"]), 'must be "en" or "zh"', remedy))
    for name, model in CORE.items():
        core[name], wrong = _validated(model, name, raw.get(name, {}), source)
        mistakes += wrong
    return core, mistakes


def _validated(model: type[Settings], key: str, raw: Any, source: Source) -> tuple[Settings | None, list[Mistake]]:
    if not isinstance(raw, dict):
        return None, [source.mistake(key, as_toml(raw), "must be a table", f"write [{key}] on a line of its own and the settings below it")]
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        return None, mistakes_of(error, source, key, model, raw)


# -- the tables of plugins -------------------------------------------------------------------------------------------


class _NoSettings(Settings):
    """The table of a plugin that has no settings."""


def read_table(plugin: Plugin, raw: Any, everything: Mapping[str, Plugin], source: Source) -> tuple[Any, list[Mistake]]:
    """The content of a plugin's table as its factory wants it."""
    if plugin.keyed is not None:
        return _read_keyed(plugin.name, plugin.keyed, raw, everything, source)
    settings, mistakes = _validated(plugin.settings or _NoSettings, plugin.name, raw, source)
    return (settings if plugin.settings is not None else None), mistakes


def read_entries(table: str, keyed: type[Settings], raw: Mapping[str, Any], plugins: Mapping[str, Plugin]) -> dict[str, Any]:
    """
    The entries of a table of tables, as `load` would make them: for tests, and for reloads of one table.

    Raises:
        ConfigurationError: With every mistake.
    """
    entries, mistakes = _read_keyed(table, keyed, raw, plugins, Source("pbx.toml"))
    if mistakes:
        raise ConfigurationError(mistakes)
    return entries


def _read_keyed(
    table: str, keyed: type[Settings], raw: Any, everything: Mapping[str, Plugin], source: Source
) -> tuple[dict[str, Settings], list[Mistake]]:
    if not isinstance(raw, dict):
        return {}, [source.mistake(table, as_toml(raw), "must be a table of tables", f"write [{table}.NAME] and its settings below it")]
    guests = {name: model for name, plugin in everything.items() if (model := plugin.settings_for(table)) is not None}
    entries: dict[str, Settings] = {}
    mistakes: list[Mistake] = []
    for key, content in raw.items():
        entry, wrong = _read_entry(table, key, keyed, content, guests, source)
        mistakes += wrong
        if entry is not None:
            entries[key] = entry
    for key, field_name, reason, remedy in keyed.check_entries(entries):
        mistakes.append(source.mistake(f"{table}.{key}.{field_name}", "", reason, remedy))
    return entries, mistakes


def _read_entry(
    table: str, key: str, keyed: type[Settings], content: Any, guests: Mapping[str, type[Settings]], source: Source
) -> tuple[Settings | None, list[Mistake]]:
    place = f"{table}.{key}"
    if not isinstance(content, dict):
        return None, [
            source.mistake(place, "", "no such setting", f"[{table}] holds tables: write [{table}.NAME] and the settings below it")
        ]
    mistakes: list[Mistake] = []
    try:
        keyed.check_key(key)
    except ValueError as error:
        mistakes.append(source.mistake(place, "", f"cannot be called so: {error}", "choose another name"))
    others: dict[str, Settings] = {}
    taken: set[str] = set()
    for name, model in guests.items():
        part = {field: value for field, value in content.items() if field in model.model_fields and field not in keyed.model_fields}
        taken |= part.keys()
        settings, wrong = _validated(model, place, part, source)
        mistakes += wrong
        if settings is not None:
            others[name] = settings
    rest = {field: value for field, value in content.items() if field not in taken}
    known = {*keyed.model_fields, *(field for model in guests.values() for field in model.model_fields)}
    unknown = rest.keys() - keyed.model_fields.keys()
    # Reported here, and not by the class: a guest's key may be what was meant.
    mistakes += [source.mistake(f"{place}.{field}", "", "no such setting", suggestion(field, known)) for field in sorted(unknown)]
    entry, wrong = _validated(keyed, place, {field: value for field, value in rest.items() if field not in unknown}, source)
    mistakes += wrong
    return (entry.joined_by(others) if entry is not None else None), mistakes


def _clashing_keys(everything: Mapping[str, Plugin]) -> list[Mistake]:
    mistakes = []
    for table in ("extensions", "lines", "trunks"):
        host = everything.get(table)
        owners = dict.fromkeys(host.keyed.model_fields, table) if host is not None and host.keyed is not None else {}
        for name, plugin in sorted(everything.items()):
            model = plugin.settings_for(table)
            for field_name in model.model_fields if model is not None else ():
                if field_name in owners:
                    reason = f"its setting {field_name!r} in [{table}.NAME] is also claimed by plugin {owners[field_name]!r}"
                    mistakes.append(Mistake(shown(plugin.file), "", "", reason, "rename one of the two"))
                owners.setdefault(field_name, name)
    return mistakes


def _unknown_table(key: str, value: Any, source: Source, known: tuple[str, ...], settings: PluginsSettings) -> Mistake:
    if not isinstance(value, dict):
        return source.mistake(key, "", "no such setting", suggestion(key, known))
    if key in settings.disabled:
        return source.mistake(key, "", "its plugin is disabled and cannot be imported either", "mend the plugin, or take the table out")
    remedy = suggestion(key, known)
    return source.mistake(
        key, "", "no such table, and no plugin of that name", remedy if "mean" in remedy else "take it out, or add the plugin"
    )


def _order_mistakes(routing: RoutingSettings, found: Discovered, source: Source) -> list[Mistake]:
    if "order" not in routing.model_fields_set:
        return []  # the default names services that may not be here yet
    known = {"*", *found.plugins, *found.disabled}
    shown = as_toml(routing.order)
    mistakes = [
        source.mistake("routing.order", shown, f"there is no plugin {name!r}", suggestion(name, known - {"*"}))
        for name in routing.order
        if name not in known
    ]
    if "*" not in routing.order:
        left_out = sorted(set(found.routers()) - set(routing.order))
        if left_out:
            reason = f"leaves out {', '.join(left_out)}, which would never be asked"
            mistakes.append(source.mistake("routing.order", shown, reason, 'name them, or add "*" for all that are not named'))
    return mistakes


# -- reload ----------------------------------------------------------------------------------------------------------


def compare(old: Configuration, new: Configuration) -> list[str]:
    """What has changed between two configurations, in words: ``"2 extensions changed"``, ``"media changed"``."""
    words = [f"{name} changed" for name in ("language", *CORE) if getattr(old, name) != getattr(new, name)]
    for name in sorted(old.tables.keys() | new.tables.keys()):
        before, after = old.tables.get(name), new.tables.get(name)
        if not isinstance(before, dict) and not isinstance(after, dict):
            words += [f"{name} changed"] if before != after else []
            continue
        before, after = before or {}, after or {}
        counts = {
            "added": len(after.keys() - before.keys()),
            "removed": len(before.keys() - after.keys()),
            "changed": sum(before[key] != after[key] for key in before.keys() & after.keys()),
        }
        words += [f"{count} {name if count > 1 else name.removesuffix('s')} {what}" for what, count in counts.items() if count]
    return words
