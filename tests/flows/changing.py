"""What the tests of changes within a call share: a call that is there, and proof that both sides talk."""

from __future__ import annotations

from tests.flows.base import FlowTests


class ConnectedTests(FlowTests):
    """A call between 100 and 101 is there."""

    configuration = ""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones(self.configuration)
        self.caller, self.callee = self.connected(self.alice, self.bob)

    def both_talk(self) -> None:
        """Media flows both ways."""
        heard, listened = len(self.caller.heard), len(self.callee.heard)
        self.caller.say(2)
        self.callee.say(3)
        self.world.run(0.5)
        self.assertEqual((len(self.caller.heard) - heard, len(self.callee.heard) - listened), (3, 2))

    def assert_alive(self) -> None:
        self.assertEqual((self.caller.state, self.callee.state), ("talking", "talking"))
