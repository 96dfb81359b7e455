"""
How a plugin declares itself: one module-level `Plugin` named ``plugin``.

Discovery (`pbx.discovery`) finds it, the configuration (`pbx.config`) reads its
table, and the composition root makes the instance with ``factory(settings, pbx)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin
from zope.interface import Attribute, implementer

if TYPE_CHECKING:
    from pbx.settings import Settings


class IPbxPlugin(IPlugin):
    """A module-level object that tells what its module brings to the exchange."""

    name = Attribute("Its name; its settings are the table of this name in ``pbx.toml``.")
    settings = Attribute("The `Settings` class of that table; None: the plugin has no settings of its own.")
    keyed = Attribute("The `Settings` class of each entry, when the table is a table of tables; else None.")
    extension_settings = Attribute("Settings accepted in every ``[extensions.NNN]``, or None.")
    line_settings = Attribute("Settings accepted in every ``[lines.NAME]``, or None.")
    trunk_settings = Attribute("Settings accepted in every ``[trunks.NAME]``, or None.")
    factory = Attribute("``factory(settings, pbx)`` makes the instance, which provides interfaces of `pbx.interfaces`.")


@implementer(IPbxPlugin)
@dataclass(eq=False)
class Plugin:
    """
    A plugin's declaration.

    Attributes:
        name: Small letters, digits and underscores; its settings are the table of this name.
        settings: The class of that table; None: it has none.
        factory: Called with the settings and the `pbx.interfaces.IPbx`; most often the plugin's class. Where `keyed` is
            given, the first argument is a ``dict`` of its instances by their keys.
        keyed: The class of each entry of a table of tables such as ``[extensions.100]``; it takes the place of ``settings``.
        extension_settings: The class of keys that every ``[extensions.NNN]`` then accepts, read as ``extension.of(name)``.
        line_settings: The same for ``[lines.NAME]``.
        trunk_settings: The same for ``[trunks.NAME]``.
    """

    name: str
    settings: type[Settings] | None
    factory: Callable[[Any, Any], Any]
    keyed: type[Settings] | None = field(default=None, kw_only=True)
    extension_settings: type[Settings] | None = field(default=None, kw_only=True)
    line_settings: type[Settings] | None = field(default=None, kw_only=True)
    trunk_settings: type[Settings] | None = field(default=None, kw_only=True)

    file: Path = field(default=Path(), init=False)
    """Where it was found; set by discovery."""
    module: ModuleType | None = field(default=None, init=False, repr=False)
    """The module object, one for each generation of the code; set by discovery."""

    def settings_for(self, table: str) -> type[Settings] | None:
        """The class of keys that this plugin adds to the entries of ``table``."""
        return {"extensions": self.extension_settings, "lines": self.line_settings, "trunks": self.trunk_settings}.get(table)
