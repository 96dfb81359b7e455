"""
Finds, imports and checks plugins, under a guard.

In Twisted's manner a module-level object declares a plugin, but a broken one is not
skipped: an exchange must not start without its trunk. Every fault becomes a `Mistake`
with file, reason and remedy, and all of them are told at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import os
import re
import stat
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from zope.interface import implementedBy, providedBy
from zope.interface.exceptions import Invalid
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyClass, verifyObject

from pbx import interfaces
from pbx.mistakes import ConfigurationError, Mistake
from pbx.plugin import IPbxPlugin, Plugin

PACKAGE = "pbx.plugins"

COROUTINES: dict[Any, tuple[str, ...]] = {
    interfaces.ICallRouter: ("route",),
    interfaces.IOverflow: ("overflow",),
    interfaces.ILocationService: ("contacts",),
    interfaces.IApplication: ("run",),
}
"""Hooks that must be ``async def``."""

PLAIN: dict[Any, tuple[str, ...]] = {
    interfaces.ICallerIdentifier: ("identify",),
    interfaces.IRegistrationPolicy: ("may_register",),
    interfaces.ICallObserver: ("call_begun", "call_answered", "call_diverted", "call_ended"),
    interfaces.IShellCommands: ("shell_commands",),
}
"""Hooks that must not be: nobody would await them."""

CORE_TABLES = frozenset(("language", "sip", "media", "store", "shell", "plugins", "routing", "guard", "dns", "log"))
"""Names that no plugin may take."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass
class Discovered:
    """What was found."""

    plugins: dict[str, Plugin] = field(default_factory=dict)
    """The plugins that are to run, by name."""
    disabled: dict[str, Plugin] = field(default_factory=dict)
    """Those that ``[plugins] disabled`` names: their tables are still understood, their code does not run."""
    mistakes: list[Mistake] = field(default_factory=list)

    def routers(self) -> list[str]:
        """The names of the plugins that say of themselves that they route or know an overflow."""
        asked = (interfaces.ICallRouter, interfaces.IOverflow)
        return [name for name, plugin in self.plugins.items() if any(interface in _declared(plugin) for interface in asked)]


def discover(paths: Iterable[Path] = (), disabled: Collection[str] = ()) -> Discovered:
    """
    Import every plugin of the package ``pbx.plugins`` and of the folders ``paths``.

    Modules that are loaded already are taken as they are; `load_again` brings new code. Raises nothing: see ``mistakes``,
    where one without a file is about the configuration file.
    """
    found = Discovered()
    seen: dict[str, Path] = {}
    for name, file, is_drop_in in _candidates(paths, found.mistakes):
        if name in seen:
            found.mistakes.append(
                Mistake(shown(file), "", "", f"there is a plugin file of this name already: {shown(seen[name])}", "rename one of them")
            )
            continue
        seen[name] = file
        try:
            module = _loaded(name, file) or _load(name, file, keeps_bytecode=not is_drop_in)
        except (Exception, SystemExit) as error:  # whatever a plugin's module does at import, it becomes a sentence
            if name not in disabled:
                found.mistakes.append(_import_failure(file, name, error))
            continue
        _add(found, module, name, file, disabled)
    known = found.plugins.keys() | found.disabled.keys() | seen.keys()
    for missing in sorted(set(disabled) - known):
        found.mistakes.append(Mistake("", "plugins.disabled", f'"{missing}"', "there is no plugin of that name", _known_names(known)))
    return found


def load_again(name: str) -> Plugin:
    """
    Load the present code of plugin ``name`` into a module object of its own, beside the generation that runs.

    Nothing changes for anybody who holds the old one. `adopt` makes the new one the current one.

    Raises:
        ConfigurationError: There is no such plugin, or its new code is not fit to run.
    """
    old = next((module for module in _modules() if getattr(module.__dict__.get("plugin"), "name", None) == name), None)
    if old is None or old.__file__ is None:
        raise ConfigurationError([Mistake(PACKAGE, "", "", f"no plugin {name!r} is loaded", "see plugins() in the shell")])
    file, stem = Path(old.__file__), old.__name__.rpartition(".")[2]
    linecache.checkcache(str(file))
    try:
        module = _load(stem, file, keeps_bytecode=False, beside=True)
    except (Exception, SystemExit) as error:
        raise ConfigurationError([_import_failure(file, stem, error, "the loaded code stays in use; mend the file")]) from error
    found = Discovered()
    _add(found, module, stem, file, ())
    if not found.mistakes and name not in found.plugins:
        found.mistakes.append(Mistake(shown(file), "", "", f"the plugin was called {name!r} and now has another name", "restart for that"))
    if found.mistakes:
        raise ConfigurationError(found.mistakes)
    return found.plugins[name]


def adopt(plugin: Plugin) -> None:
    """Make what `load_again` has loaded the current module of its name."""
    if plugin.module is not None:
        sys.modules[plugin.module.__name__] = plugin.module


def verify(plugin: Plugin, instance: object) -> list[Mistake]:
    """Check an instance against every interface that it says it provides; an empty list if all is well."""
    found: list[Mistake] = []
    for interface in _ours(interfaces_of(instance)):
        found += _broken_promises(plugin, interface, verifyObject, instance)
        found += _wrong_kinds(plugin, interface, instance, type(instance).__name__)
    return found


def interfaces_of(instance: object) -> list[InterfaceClass]:
    """All interfaces that ``instance`` provides."""
    return list(providedBy(instance).flattened())


def asking_order(order: Iterable[str], present: Iterable[str]) -> list[str]:
    """The names ``present`` in the order that ``[routing] order`` gives them: ``"*"`` stands for those not named, by name."""
    present, order = sorted(present), list(order)
    unnamed = [name for name in present if name not in order]
    asked: list[str] = []
    for name in order:
        asked += unnamed if name == "*" else [name] if name in present else []
    return asked


# -- finding ---------------------------------------------------------------------------------------------------------


_DROP_INS: set[str] = set()
"""Folders of ``[plugins] path`` that the package has been told of."""


def _candidates(paths: Iterable[Path], mistakes: list[Mistake]) -> Iterator[tuple[str, Path, bool]]:
    """``(module name, file, is a drop-in)`` of every plugin, the ones that come along first, each folder by name."""
    package = importlib.import_module(PACKAGE)
    drop_ins = [Path(path).resolve() for path in paths]
    for gone in _DROP_INS - {str(folder) for folder in drop_ins}:
        if gone in package.__path__:
            package.__path__.remove(gone)
        _DROP_INS.discard(gone)
    for folder in [Path(entry).resolve() for entry in package.__path__]:
        if folder.is_dir() and folder not in drop_ins:
            yield from ((name, file, False) for name, file in _files(folder))
    for given, folder in zip(paths, drop_ins, strict=True):
        faults = _unsafe(given, folder)
        mistakes += faults
        if faults:
            continue
        if str(folder) not in package.__path__:  # so that plugins of one folder can share a module
            package.__path__.append(str(folder))
            _DROP_INS.add(str(folder))
        yield from ((name, file, True) for name, file in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(("_", ".")):
            continue
        if entry.suffix == ".py":
            yield entry.stem, entry
        elif (entry / "__init__.py").is_file():
            yield entry.name, entry / "__init__.py"


def _unsafe(given: Path, folder: Path) -> list[Mistake]:
    """Why code of this folder must not be run: who can write there becomes us."""
    if not folder.is_dir():
        return [Mistake("", "plugins.path", f'"{given}"', "there is no such folder", f"make it (mkdir -p {given}) or take it out")]
    found = []
    for entry in (folder, *(file for _, file in _files(folder))):
        try:
            status = entry.stat()
        except OSError as error:
            found.append(Mistake(shown(entry), "", "", f"cannot be read: {error.strerror}", "see to its permissions"))
            continue
        if status.st_mode & stat.S_IWOTH:
            found.append(
                Mistake(shown(entry), "", "", "anybody may write to it, and its code would run as this server", f"chmod o-w {shown(entry)}")
            )
        if status.st_uid not in (0, os.geteuid()):
            found.append(
                Mistake(
                    str(entry),
                    "",
                    "",
                    f"belongs to user {status.st_uid}, neither to root nor to us",
                    f"chown it to user {os.geteuid()} or to root",
                )
            )
    return found


# -- importing -------------------------------------------------------------------------------------------------------


class _FromSource(SourceFileLoader):
    """Never reads or writes bytecode: that goes by the second and the size, and an edit can keep both."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _modules() -> list[ModuleType]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(PACKAGE + ".") and module is not None]


def _loaded(name: str, file: Path) -> ModuleType | None:
    module = sys.modules.get(f"{PACKAGE}.{name}")
    return module if module is not None and module.__file__ is not None and Path(module.__file__).resolve() == file.resolve() else None


def _load(name: str, file: Path, *, keeps_bytecode: bool, beside: bool = False) -> ModuleType:
    """Run ``file`` as module ``pbx.plugins.<name>``; ``beside``: without taking the place of the one that is loaded."""
    full_name = f"{PACKAGE}.{name}"
    loader = SourceFileLoader(full_name, str(file)) if keeps_bytecode else _FromSource(full_name, str(file))
    inside = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(full_name, file, loader=loader, submodule_search_locations=inside)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # While its code runs, the module stands in sys.modules as in any import, and submodules of a package are fresh ones.
    before = {known: sys.modules.pop(known) for known in list(sys.modules) if known == full_name or known.startswith(full_name + ".")}
    sys.modules[full_name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        _restore(full_name, before)
        raise
    if beside:
        _restore(full_name, before)
    else:
        setattr(importlib.import_module(PACKAGE), name, module)
    return module


def _restore(full_name: str, before: dict[str, ModuleType]) -> None:
    for known in [known for known in sys.modules if known == full_name or known.startswith(full_name + ".")]:
        del sys.modules[known]
    sys.modules.update(before)


def _import_failure(file: Path, name: str, error: BaseException, remedy: str = "") -> Mistake:
    line = 0
    if isinstance(error, SyntaxError):
        line = error.lineno or 0
        why = f"line {line}: {type(error).__name__}: {error.msg}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() == file.resolve()]
        line = (frames[-1].lineno or 0) if frames else 0
        why = (f"line {line}: " if line else "") + "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    return Mistake(
        shown(file), "", "", f"cannot be imported: {why}", remedy or f'mend it, or leave it out: [plugins] disabled = ["{name}"]'
    )


# -- checking --------------------------------------------------------------------------------------------------------


def _add(found: Discovered, module: ModuleType, stem: str, file: Path, disabled: Collection[str]) -> None:
    plugin = module.__dict__.get("plugin")
    where = shown(file)
    if not IPbxPlugin.providedBy(plugin) or not isinstance(plugin, Plugin):
        found.mistakes.append(
            Mistake(where, "", "", "has no plugin = Plugin(...) at module level", "add it, or begin the file's name with an underscore")
        )
        return
    plugin.file, plugin.module = file, module
    if not isinstance(plugin.name, str) or not _NAME.fullmatch(plugin.name) or plugin.name in CORE_TABLES:
        why = "is a table of the core" if plugin.name in CORE_TABLES else "is no plugin's name"
        found.mistakes.append(Mistake(where, "", "", f"{plugin.name!r} {why}", "take small letters, digits and underscores"))
        return
    off = plugin.name in disabled or stem in disabled
    twin = found.plugins.get(plugin.name) or found.disabled.get(plugin.name)
    if twin is not None:
        found.mistakes.append(Mistake(where, "", "", f"its name {plugin.name!r} is taken by {shown(twin.file)}", "rename one of them"))
        return
    (found.disabled if off else found.plugins)[plugin.name] = plugin
    if not off:
        found.mistakes += _check_class(plugin)


def _check_class(plugin: Plugin) -> list[Mistake]:
    """What can be seen before there is an instance: with ``--check``, and before any fork."""
    if not callable(plugin.factory):
        return [Mistake(shown(plugin.file), "", "", "the third argument of Plugin(...) is not callable", "give it the class of the plugin")]
    if not isinstance(plugin.factory, type):
        return []
    found: list[Mistake] = []
    for interface in _ours(_declared(plugin)):
        found += _broken_promises(plugin, interface, verifyClass, plugin.factory)
        found += _wrong_kinds(plugin, interface, plugin.factory, plugin.factory.__name__)
    return found


def _declared(plugin: Plugin) -> list[InterfaceClass]:
    declared_by: Any = implementedBy  # untyped in zope.interface
    return [*declared_by(plugin.factory).flattened()]


def _ours(declared: Iterable[InterfaceClass]) -> list[InterfaceClass]:
    return [interface for interface in declared if interface.__module__ == interfaces.__name__]


def _wrong_kinds(plugin: Plugin, interface: InterfaceClass, holder: Any, name: str) -> list[Mistake]:
    found = []
    for kinds, wanted, want_coroutine in ((COROUTINES, '"async def"', True), (PLAIN, '"def", not "async def"', False)):
        for hook in kinds.get(interface, ()):
            method = getattr(holder, hook, None)
            if callable(method) and inspect.iscoroutinefunction(method) is not want_coroutine:
                reason = f"{name}.{hook} must be {wanted} ({interface.__name__})"
                found.append(Mistake(shown(plugin.file), "", "", reason, "change its first line"))
    return found


def _broken_promises(plugin: Plugin, interface: InterfaceClass, check: Any, candidate: Any) -> list[Mistake]:
    try:
        check(interface, candidate)
    except Invalid as error:  # one, or many in one
        return [_broken_promise(plugin, interface, problem) for problem in getattr(error, "errors", (error,))]
    return []


def _broken_promise(plugin: Plugin, interface: InterfaceClass, problem: Invalid) -> Mistake:
    """zope.interface's finding in one sentence; its own begins with the object's repr, which says nothing to anybody."""
    text = " ".join(str(problem).split())
    _, _, reason = text.partition("has failed to implement interface ")
    reason = reason.partition(": ")[2] or text
    return Mistake(shown(plugin.file), "", "", f"{plugin.name} does not keep to {interface.__name__}: {reason}", "see pbx/interfaces.py")


def shown(file: Path) -> str:
    """A path as the operator would type it."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _known_names(known: Iterable[str]) -> str:
    return f"there are {', '.join(sorted(known))}" if known else "there are none at all"
