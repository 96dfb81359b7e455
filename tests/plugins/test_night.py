"""The example of the documentation, as a drop-in file: it is found, set up, asked."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.flows.base import FlowTests

NIGHT = '''
"""Night service: after hours, calls to the reception go to the porter."""

from datetime import time

from zope.interface import implementer

from pbx.api import Call, Divert, ICallRouter, IPbx, Pass, Plugin, Settings, Verdict, setting


class NightSettings(Settings):
    number: str = setting("200", "the number that has a night service")
    to: str = setting("299", "where its calls go at night")
    opens: time = setting(time(8), "local time")
    closes: time = setting(time(18), "local time")


@implementer(ICallRouter)
class Night:
    def __init__(self, settings: NightSettings, pbx: IPbx) -> None:
        self._settings, self._pbx = settings, pbx

    async def route(self, call: Call) -> Verdict:
        if call.called != self._settings.number:
            return Pass()
        if self._settings.opens <= self._pbx.local_time() < self._settings.closes:
            return Pass()
        return Divert(self._settings.to, because="night")


plugin = Plugin("night", NightSettings, Night)
'''


class NightTests(FlowTests):
    """Calls to 101 go to 102 outside its hours."""

    def setUp(self) -> None:
        """Forget the plugin files of other tests, and of this one afterwards."""
        package = importlib.import_module("pbx.plugins")
        self.patch(package, "__path__", list(package.__path__))
        self.addCleanup(sys.modules.pop, "pbx.plugins.night", None)

    def called(self, opens: str, closes: str) -> tuple[int, int]:
        """How often 101 and 102 ring."""
        folder = Path(self.mktemp())
        folder.mkdir(mode=0o755)
        (folder / "night.py").write_text(NIGHT)
        plugins = f'[plugins]\npath = ["{folder.absolute()}"]\ndisabled = ["cdr"]\n'
        night = f'[night]\nnumber = "101"\nto = "102"\nopens = {opens}\ncloses = {closes}\n'
        self.make_world(plugins + night)
        alice, bob, porter = (self.world.phone(number) for number in ("100", "101", "102"))
        alice.dial("101")
        self.world.run(0.5)
        return len(bob.incoming), len(porter.incoming)

    def test_by_day(self) -> None:
        """Within the hours the reception rings."""
        self.assertEqual(self.called("00:00:00", "23:59:59"), (1, 0))

    def test_by_night(self) -> None:
        """Outside them the porter does."""
        self.assertEqual(self.called("00:00:00", "00:00:00"), (0, 1))
