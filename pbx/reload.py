"""
Reload: the file is read, validated and compared, then what has changed is swapped; a bad file changes nothing.

New calls are served by the new generation, live calls keep what they hold. Certificates are read again. What is bound to
sockets, files or the past (``[sip]``, ``[media]``, ``[store]``, ``[shell]``, where HTTP listens) waits for the next start, and who reloads
is told so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from pbx.config import Configuration, ConfigurationError, Loaded, compare, load
from pbx.discovery import adopt, load_again
from pbx.generation import Generation, tell_where
from pbx.log import Log
from pbx.mistakes import Mistake
from pbx.net.tls import TlsError

if TYPE_CHECKING:
    from pbx.plugin import Plugin
    from pbx.service import PbxService

log = Log(namespace="pbx.reload")

AT_THE_NEXT_START = ("sip", "media", "store", "shell")
"""Tables whose changes wait."""
PATIENCE = 10.0
"""Seconds that a plugin may take to stop or to start."""
_HOSTS = ("extensions", "lines", "trunks")


class ReloadError(Exception):
    """Nothing has changed; the sentence says why."""


@dataclass
class Change:
    """
    What a reload has done.

    Attributes:
        words: As `pbx.config.compare` says it: ``"2 extensions changed"``.
        waiting: Tables that have changed and wait for the next start.
        remade: Plugins that have been made anew.
        live_calls: Calls that keep what they have.
        loaded: The plugin whose code was loaded; "" for none.
        shown: What plugins want the operator to see once; it goes into no log.
    """

    words: list[str]
    waiting: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    live_calls: int = 0
    loaded: str = ""
    shown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        by_verb: dict[str, list[str]] = {}
        for words in self.words:
            what, _, verb = words.rpartition(" ")
            by_verb.setdefault(verb, []).append(what)
        parts = [f"the code of {self.loaded} loaded"] if self.loaded else []
        parts += [f"{', '.join(things)} {verb}" for verb, things in by_verb.items()]
        if self.waiting:
            parts.append(f"[{'], ['.join(self.waiting)}] will change at the next start")
        parts = parts or ["nothing has changed"]
        calls = f"{self.live_calls} live call{'' if self.live_calls == 1 else 's'}"
        parts.append(f"{calls} keep{'s' if self.live_calls == 1 else ''} what {'it has' if self.live_calls == 1 else 'they have'}")
        return ", ".join(parts)


class Reloads:
    """Reloads the configuration, or one plugin's code, of a server that runs; one at a time."""

    def __init__(self, service: PbxService) -> None:
        self._service = service
        self._busy = False

    async def configuration(self) -> Change:
        """
        Read the file again and put it into force.

        Raises:
            ConfigurationError: It is not fit to run; nothing has changed.
            ReloadError: A plugin did not come up; nothing has changed.
        """
        return await self._alone(lambda: load(self._service.loaded.path))

    async def plugin(self, name: str) -> Change:
        """
        Load the code of one plugin anew, with its own table from the file.

        Raises:
            ConfigurationError: The code or the table is not fit to run; nothing has changed.
            ReloadError: It did not come up; nothing has changed.
        """
        return await self._alone(lambda: self._with_new_code(name), name)

    def _with_new_code(self, name: str) -> Loaded:
        old = self._service.loaded
        if name not in old.plugins:
            there = ", ".join(old.plugins)
            raise ConfigurationError([Mistake("", "", "", f"no plugin {name!r} is running", f"there are {there}")])
        plugin = load_again(name)
        fresh = load(old.path, instead={name: plugin})
        # Its own table, and those that have settings of its own in their entries: the rest of the file is not asked for.
        wanted = {name, *(host for host in _HOSTS if plugin.settings_for(host) is not None)}
        tables = {**old.configuration.tables, **{table: fresh.configuration.tables[table] for table in wanted if table in fresh.plugins}}
        return replace(old, configuration=replace(old.configuration, tables=tables), plugins={**old.plugins, name: plugin})

    async def _alone(self, read: Callable[[], Loaded], name: str = "") -> Change:
        if self._busy:
            raise ReloadError("a reload is under way; wait for it")
        if not self._service.running:
            raise ReloadError("the server does not run")
        self._busy = True
        try:
            return await self._take(read(), name)
        except (ConfigurationError, ReloadError) as error:
            for line in str(error).splitlines():
                log.error("not reloaded: {why}", why=line)
            raise
        finally:
            self._busy = False

    async def _take(self, read: Loaded, name: str) -> Change:
        service = self._service
        before = service.loaded
        loaded, waiting = _effective(before, read)
        change = Change(compare(before.configuration, loaded.configuration), waiting, loaded=name)
        old_rules = service.exchange.rules
        from pbx.service import rules_of  # the composition root knows us

        service.exchange.rules = rules_of(loaded.configuration)
        try:
            certificates = service.transports.read_certificates()
            generation, change.remade = self._generation(before, loaded)
            await self._swap_running(service.generation, generation)
        except BaseException as error:
            service.exchange.rules = old_rules
            if isinstance(error, TlsError):
                raise ReloadError(str(error)) from None
            raise
        if service.transports.use_certificates(certificates):
            change.words.append("certificates renewed")
        for plugin in loaded.plugins.values():
            adopt(plugin)
        service.loaded, service.generation = loaded, generation
        generation.serve(service)
        service.take(loaded.configuration, before.configuration)
        change.shown, generation.shown = generation.shown, []
        change.live_calls = sum(not call.over for call in service.exchange.calls.values())
        log.info("reloaded: {change}", change=str(change))
        return change

    def _generation(self, before: Loaded, after: Loaded) -> tuple[Generation, list[str]]:
        """Instances for ``after``: what has not changed for a plugin leaves it as it is."""
        old = self._service.generation
        new = Generation()
        mistakes: list[Mistake] = []
        remade = []
        for name in after.order:
            if name in old.instances and _is_the_same(name, before, after):
                new.instances[name], new.handles[name] = old.instances[name], old.handles[name]
            else:
                remade.append(name)
                mistakes += new.make(after.plugins[name], after, self._service)
        if mistakes or (mistakes := new.unknown_numbers(after, self._service.exchange)):
            raise ConfigurationError(mistakes)
        return new, remade

    async def _swap_running(self, old: Generation, new: Generation) -> None:
        """Stop what goes and start what comes; if that fails, start what was stopped again."""
        leaving = [(name, one) for name, one in old.running() if new.instances.get(name) is not one]
        coming = [(name, one) for name, one in new.running() if old.instances.get(name) is not one]
        stopped: list[tuple[str, Any]] = []
        started: list[tuple[str, Any]] = []
        try:
            for name, one in reversed(leaving):
                stopped.append((name, one))
                await self._carry_out(name, "stop", one.stopService)
            for name, one in coming:
                started.append((name, one))
                await self._carry_out(name, "start", one.startService)
        except ReloadError as error:
            for name, one in reversed(started):
                await self._undo(name, "stop", one.stopService)
            for name, one in reversed(stopped):
                await self._undo(name, "start", one.startService)
            raise ReloadError(f"{error}; the old one runs again" if stopped else str(error)) from None

    async def _carry_out(self, name: str, what: str, function: Callable[[], Any]) -> None:
        try:
            done: Deferred[Any] = maybeDeferred(function)
            await done.addTimeout(PATIENCE, self._service.reactor)
        except Exception as error:
            raise ReloadError(f"{name} does not {what}: {type(error).__name__}: {error}") from error

    async def _undo(self, name: str, what: str, function: Callable[[], Any]) -> None:
        try:
            await self._carry_out(name, what, function)
        except ReloadError as error:
            log.error("after a reload that failed: {why}; reload({name!r}) or restart", why=str(error), name=name)


class OnHangUp(Service):
    """Reloads the configuration on SIGHUP."""

    def __init__(self, service: PbxService) -> None:
        self._service = service
        self._before: Any = None

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._hung_up)

    def stopService(self) -> None:
        super().stopService()
        # None stands for one that was not set from Python: it cannot be set again.
        signal.signal(signal.SIGHUP, self._before if self._before is not None else signal.SIG_DFL)

    def _hung_up(self, *_: Any) -> None:
        # In the middle of anything: the loop does it when it is its turn.
        self._service.reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[None]:
        """As on the signal; fires when it is over, however it went: the log tells."""
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        log.info("SIGHUP: reading the configuration again")
        try:
            change = await self._service.reloads.configuration()
        except (ConfigurationError, ReloadError):
            return  # it is in the log
        except Exception:
            log.failure("the reload broke")
            return
        if change.shown:  # it may be passwords, and nobody looks on: what is printed would go into the log
            tell_where(change.shown, self._service.state_folder)


def _effective(before: Loaded, read: Loaded) -> tuple[Loaded, list[str]]:
    """What can be put into force of what was read, and the tables that have to wait."""
    old: Configuration = before.configuration
    new: Configuration = read.configuration
    waiting = [name for name in AT_THE_NEXT_START if getattr(old, name) != getattr(new, name)]
    kept: dict[str, Any] = {name: getattr(old, name) for name in AT_THE_NEXT_START}
    if old.http.listen != new.http.listen:
        waiting.append("http")
        kept["http"] = new.http.model_copy(update={"listen": old.http.listen})
    if (old.log.path, old.log.format) != (new.log.path, new.log.format):
        waiting.append("log")
        kept["log"] = old.log.model_copy(update={"level": new.log.level})
    return replace(read, configuration=replace(new, **kept)), waiting


def _is_the_same(name: str, before: Loaded, after: Loaded) -> bool:
    """Whether nothing that a plugin is made from has changed: its code, tables, and what its handle tells it."""
    old, new = before.configuration, after.configuration
    plugin: Plugin = after.plugins[name]
    if before.plugins.get(name) is not plugin:
        return False
    if (old.language, old.routing.outside_prefix) != (new.language, new.routing.outside_prefix):
        return False
    tables = (name, *(host for host in _HOSTS if plugin.settings_for(host) is not None))
    return all(_content(old.tables.get(table)) == _content(new.tables.get(table)) for table in tables)


def _content(table: Any) -> Any:
    """The order of entries counts too: it is the order in which lines are tried."""
    return list(table.items()) if isinstance(table, dict) else table
