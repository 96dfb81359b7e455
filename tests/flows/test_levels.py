"""Call levels: who may dial what (``[routing] levels``)."""

from __future__ import annotations

from pbx.call.peer import Caller
from tests.flows.base import FlowTests

CONFIGURATION = """
[routing]
levels = {"1" = 1, "101" = 3}
[extensions.100]
password = "secret of 100"
level = 1
[extensions.102]
password = "secret of 102"
level = 3
"""


class LevelTests(FlowTests):
    """Level 1 is needed for what begins with 1, level 3 for 101; 100 has level 1, 102 has level 3, 200 has none."""

    def setUp(self) -> None:
        self.make_world(CONFIGURATION, extensions=("100", "101", "102", "200"))

    def dial(self, caller: str, called: str) -> list[int]:
        """The statuses that ``caller`` hears."""
        call = self.world.phone(caller).dial(called)
        self.world.run(1.0)
        return call.statuses

    def test_above_its_level(self) -> None:
        """Who has too low a level gets 403, and nobody is rung."""
        called = self.world.phone("101")
        self.assertEqual(self.dial("100", "101"), [403])
        self.assertEqual(called.incoming, [])

    def test_longest_prefix_decides(self) -> None:
        """102 may dial 101, and 100 may dial 102: the longest prefix counts."""
        self.world.phone("101")
        self.assertEqual(self.dial("102", "101"), [180])
        self.assertEqual(self.dial("100", "102"), [180])

    def test_without_a_level(self) -> None:
        """An extension without a level dials what has none, and nothing that has one."""
        self.assertEqual(self.dial("200", "100"), [403])
        self.world.phone("200")
        self.assertEqual(self.dial("200", "200"), [180])

    def test_explained(self) -> None:
        """The trace says what level it takes."""
        exchange = self.world.exchange
        peer = exchange.directory["100"]
        call = self.successResultOf(exchange.explain(Caller(peer, "100"), "101"))
        self.assertEqual(str(call.trace.steps[-1]), "levels: 101: refuse with 403: 101 takes level 3, and extension 100 has 1")
