"""
A generation of plugins: the instances that new calls are served by.

A reload makes a new generation beside the old one and swaps them; calls that are under way keep what they hold.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.internet.error import CannotListenError

from pbx.call.diversion import Diverting
from pbx.call.exchange import Services
from pbx.config import ConfigurationError
from pbx.discovery import verify
from pbx.handle import Handle
from pbx.interfaces import ICallerIdentifier, ICallObserver, ICallRouter, IOverflow, IRegistrationPolicy, IShellCommands
from pbx.log import Log
from pbx.mistakes import Mistake, as_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pbx.call.dial_plan import Carrier
    from pbx.call.exchange import Exchange
    from pbx.call.peer import Peer
    from pbx.config import Loaded
    from pbx.plugin import Plugin
    from pbx.service import PbxService

log = Log(namespace="pbx")


class Generation:
    """
    Plugins that have been made from one configuration.

    Attributes:
        instances: By name, in the order in which they are asked.
        peers: All that they have enlisted.
        shown: What they want the operator to see once.
    """

    def __init__(self) -> None:
        self.instances: dict[str, Any] = {}
        self.handles: dict[str, Handle] = {}
        self.shown: list[str] = []

    @classmethod
    def of(cls, loaded: Loaded, service: PbxService) -> Generation:
        """
        Make every plugin of ``loaded``.

        Raises:
            ConfigurationError: With all that do not come up, or break their promises.
        """
        generation = cls()
        mistakes: list[Mistake] = []
        for name in loaded.order:
            mistakes += generation.make(loaded.plugins[name], loaded, service)
        if mistakes or (mistakes := generation.unknown_numbers(loaded, service.exchange)):
            raise ConfigurationError(mistakes)
        return generation

    def make(self, plugin: Plugin, loaded: Loaded, service: PbxService) -> list[Mistake]:
        """Make one plugin; what is wrong with it comes back."""
        settings = loaded.configuration
        handle = Handle(
            plugin.name,
            service.exchange,
            reactor=service.reactor,
            in_thread=service.in_thread,
            secrets=service.secrets,
            state_folder=service.state_folder,
            realm=settings.realm,
            relay=settings.media.relay,
            outside_prefix=settings.routing.outside_prefix,
            user_agent=service.user_agent,
            prober=service.prober,
            resolver=service.resolver,
            extensions=settings.tables.get("extensions") or {},
            show=self.shown.append,
            refusing=service.refusing,
            kept=service.kept.setdefault(plugin.name, {}),
        )
        try:
            instance = plugin.factory(settings.of(plugin.name), handle)
        except Exception as error:
            remedy = "mend it, or name it in [plugins] disabled"
            return [Mistake(str(plugin.file), "", "", f"{plugin.name} does not come up: {type(error).__name__}: {error}", remedy)]
        self.instances[plugin.name] = instance
        self.handles[plugin.name] = handle
        return verify(plugin, instance)

    def unknown_numbers(self, loaded: Loaded, exchange: Exchange) -> list[Mistake]:
        """The mistakes of settings that name a number which none of these plugins knows."""
        routers = [(name, one) for name, one in self._providing(ICallRouter) if not self.handles[name].carriers]  # a carrier's is not local
        mistakes = []
        for handle in self.handles.values():
            for number, setting, local in handle.expected:
                if not (exchange.is_local(number, routers) or (not local and self._is_outside(number))):
                    value, remedy = as_toml(number), "name an extension or a service number that exists"
                    remedy += "" if local else ", or a number that begins with the prefix of a line or trunk"
                    mistakes.append(Mistake(str(loaded.path), setting, value, "there is no such number", remedy))
        return mistakes

    def _is_outside(self, number: str) -> bool:
        return any(number.startswith(prefix) for carrier in self.carriers for prefix in carrier.prefixes)

    @property
    def peers(self) -> dict[str, Peer]:
        return {number: peer for handle in self.handles.values() for number, peer in handle.peers.items()}

    @property
    def carriers(self) -> list[Carrier]:
        return [carrier for handle in self.handles.values() for carrier in handle.carriers]

    def services(self, observers: Sequence[tuple[str, Any]] = ()) -> Services:
        """The groups in which an exchange asks them; ``observers``: further ones, which are no plugins."""
        return Services(
            identifiers=self._of_calls(ICallerIdentifier),
            routers=self._of_calls(ICallRouter),
            overflows=self._of_calls(IOverflow),
            observers=[*self._of_calls(ICallObserver), *observers],
            policies=self._providing(IRegistrationPolicy),
        )

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        """What the plugins add to the shell."""
        commands: dict[str, Callable[..., Any]] = {}
        for _, instance in self._providing(IShellCommands):
            commands.update(instance.shell_commands())
        return commands

    def running(self) -> list[tuple[str, Any]]:
        """Those that run something."""
        return self._providing(IService)

    def begin(self, service: PbxService) -> None:
        """Put this generation into force, and start what runs something."""
        self.serve(service)
        for name, instance in self.running():
            try:
                instance.startService()
            except CannotListenError as error:
                where = f"port {error.port} of {error.interface or 'all addresses'}"
                raise SystemExit(
                    f"pbx: {name} cannot listen on {where}: {error.socketError}; end the program that has it, or change [{name}]"
                ) from None
        self._show(service.state_folder)

    def _show(self, state_folder: Path) -> None:
        """Show what is to be seen once: on the screen, past twistd's log that stands in its place, and into no log."""
        shown, self.shown[:] = list(self.shown), []
        if shown and os.environ.get("JOURNAL_STREAM"):  # systemd keeps what is written to the screen (systemd.exec(5))
            tell_where(shown, state_folder)
            return
        for text in shown:
            print(text, file=sys.__stdout__, flush=True)

    def serve(self, service: PbxService) -> None:
        """From now on new calls are served by this generation."""
        exchange = service.exchange
        exchange.directory.clear()
        exchange.directory.update(self.peers)
        exchange.dial_plan.use(self.carriers)
        exchange.diverting = next((handle.diverting for handle in self.handles.values() if handle.diverting is not None), Diverting())
        exchange.use(self.services(service.observers))

    def _of_calls(self, interface: Any) -> list[tuple[str, Any]]:
        """Those that have something to do with calls, by their settings."""
        return [(name, instance) for name, instance in self._providing(interface) if not getattr(instance, "is_idle", False)]

    def _providing(self, interface: Any) -> list[tuple[str, Any]]:
        return [(name, instance) for name, instance in self.instances.items() if interface.providedBy(instance)]


def tell_where(shown: list[str], state_folder: Path) -> None:
    """Log where the passwords are that cannot be shown."""
    log.info("{count} passwords were made; they stand under {folder}", count=len(shown), folder=str(state_folder / "secrets"))
