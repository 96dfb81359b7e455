"""Coroutines that are run as far as they go at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pbx.call.stepping import launch


class LaunchTests(SynchronousTestCase):
    """What goes on by itself."""

    def setUp(self) -> None:
        self.done: list[str] = []
        self.broken: list[Failure] = []
        self.waited_for: Deferred[str] = Deferred()

    async def at_once(self) -> None:
        self.done.append("at once")

    async def waits(self) -> None:
        self.done.append(await self.waited_for)
        self.done.append(await self.waited_for)

    async def breaks(self) -> None:
        raise ValueError("broken")

    async def breaks_later(self) -> None:
        await self.waited_for
        raise ValueError("broken")

    def test_at_once(self) -> None:
        """What does not wait is over when `launch` returns."""
        launch(self.at_once(), self.broken.append)
        self.assertEqual((self.done, self.broken), (["at once"], []))

    def test_waits(self) -> None:
        """What waits goes on when that has come, as often as it waits."""
        launch(self.waits(), self.broken.append)
        self.assertEqual(self.done, [])
        self.waited_for.callback("later")
        self.assertEqual((self.done, self.broken), (["later", "later"], []))

    def test_broken(self) -> None:
        """What it raises is told, at once or later, and does not come out here."""
        launch(self.breaks(), self.broken.append)
        launch(self.breaks_later(), self.broken.append)
        self.assertEqual(len(self.broken), 1)
        self.waited_for.callback("later")
        self.assertEqual([failure.type for failure in self.broken], [ValueError, ValueError])
        self.assertTrue(all(failure.frames for failure in self.broken))

    def test_what_it_waited_for_failed(self) -> None:
        """So does what it waited for and has failed."""
        launch(self.waits(), self.broken.append)
        self.waited_for.errback(KeyError("gone"))
        self.assertEqual([failure.type for failure in self.broken], [KeyError])
