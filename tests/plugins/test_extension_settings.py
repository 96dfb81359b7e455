"""Settings of a plugin in the tables of the extensions: ``extension_settings``."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.api import Call, Divert, ICallRouter, IPbx, Pass, Plugin, Settings, Verdict, setting
from pbx.testing.world import World


class SecretarySettings(Settings):
    """What it adds to ``[extensions.NNN]``."""

    secretary: str = setting("", "who takes the calls of this extension")


@implementer(ICallRouter)
class Secretary:
    """Sends the calls of an extension to its secretary."""

    def __init__(self, settings: None, pbx: IPbx) -> None:
        self._pbx: Any = pbx

    async def route(self, call: Call) -> Verdict:
        extension = self._pbx.extensions().get(call.called)
        to = extension.of("secretary").secretary if extension is not None else ""
        return Divert(to, "secretary") if to and call.caller.number != to else Pass()


PLUGIN = Plugin("secretary", None, Secretary, extension_settings=SecretarySettings)


class ExtensionSettingsTests(SynchronousTestCase):
    """Extension 101 has a secretary, 102."""

    def test_read_by_the_plugin(self) -> None:
        """A key that the plugin declares is accepted in the extension's table, and the plugin reads it there."""
        world = World('[extensions.101]\npassword = "secret of 101"\nsecretary = "102"\n', plugins=(PLUGIN,))
        alice, boss, secretary = (world.phone(number) for number in ("100", "101", "102"))
        alice.dial("101")
        world.run(1.0)
        self.assertEqual((len(boss.incoming), len(secretary.incoming)), (0, 1))
        secretary.dial("101")
        world.run(1.0)
        self.assertEqual(len(boss.incoming), 1)
