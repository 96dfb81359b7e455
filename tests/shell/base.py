"""A world with an operator at its shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from pbx.shell.commands import Commands, Terminal
from pbx.shell.running import namespace, run
from pbx.shell.tracing import Traces
from pbx.testing.world import World


class Operator:
    """
    Somebody who types commands.

    Attributes:
        shown: What appeared on the terminal later.
    """

    def __init__(self, world: World, folder: Path, in_thread: Any = maybeDeferred) -> None:
        service = world.service
        self.service = service
        self.shown: list[str] = []
        self.traces = Traces(service.messages, service.reactor, service.wall, folder, in_thread)
        self.commands = Commands(service, Terminal("admin@192.0.2.9", self.shown.append), self.traces)

    def __getattr__(self, name: str) -> Any:
        return namespace(self.commands, self.service)[name]

    def run(self, text: str) -> Any:
        """Type ``text`` behind ``ssh host``; a Deferred of what is printed."""
        return maybeDeferred(run, text, self.commands, self.service)


class ShellTestCase(SynchronousTestCase):
    """Has a `World`, and an operator at its shell."""

    configuration = ""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.world = World(self.configuration)
        self.operator = Operator(self.world, self.folder)
        self.addCleanup(self.finish)

    def finish(self) -> None:
        self.operator.commands.gone()
        self.operator.traces.stop()

    def printed(self, text: str) -> str:
        """What ``ssh host text`` prints."""
        printed: str = self.successResultOf(self.operator.run(text))
        return printed

    def refused(self, text: str) -> str:
        """Why ``ssh host text`` ends with status 1."""
        return str(self.failureResultOf(self.operator.run(text)).value)

    def talk(self) -> str:
        """100 and 101 talk with each other; gives the call's id."""
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        self.alice_call = self.alice.dial("101")
        self.world.run(1.0)
        self.bob.incoming[0].answer()
        self.world.run(1.0)
        call_id: str = self.operator.calls()[0]["id"]
        return call_id
