"""How answers are printed, and what programs get of them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from pbx.operations.answers import Fields, Later, Table, Told, answer_of, settled, width


class TableTests(SynchronousTestCase):
    """Tables."""

    def test_aligned(self) -> None:
        """Columns stand below their names, numbers to the right, and nothing trails."""
        table = Table(("name", "calls_now"), [("reception", 3), ("b", 12)])
        self.assertEqual(repr(table), "name       calls now\nreception          3\nb                 12")

    def test_wide_characters(self) -> None:
        """A Chinese name takes two columns a character in a terminal, and what stands behind it is still aligned."""
        table = Table(("name", "number"), [("接待处", "100"), ("porter", "101")])
        self.assertEqual(repr(table), "name    number\n接待处  100\nporter  101")
        self.assertEqual(width("e\u0301"), 1)

    def test_json(self) -> None:
        """A program gets a list of objects; the values keep their types."""
        self.assertEqual(Table(("a", "b"), [(1, None)]).json(), [{"a": 1, "b": None}])

    def test_like_a_list(self) -> None:
        """In Python a table is a sequence of dicts."""
        table = Table(("a",), [(1,), (2,)])
        self.assertEqual((len(table), table[1], [row["a"] for row in table]), (2, {"a": 2}, [1, 2]))

    def test_empty(self) -> None:
        """An empty table says what there is none of."""
        self.assertEqual(repr(Table(("a",), [], "no calls")), "no calls")

    def test_values(self) -> None:
        """Yes and no, nothing, lists, and control characters that a peer has sent."""
        table = Table(("a", "b", "c", "d"), [(True, None, ["x", "y"], "evil\x1b[2J")])
        self.assertEqual(repr(table).split("\n")[1], "yes  -  x, y  evil\\x1b[2J")


class FieldsTests(SynchronousTestCase):
    """One thing with its values."""

    def test_printed(self) -> None:
        """Values stand below each other, what has parts is indented."""
        fields = Fields({"id": "w-1", "call_phase": "talking", "legs": Table(("peer",), [("extension 100",)]), "standing": {"bans": 0}})
        self.assertEqual(
            repr(fields),
            "id          w-1\ncall phase  talking\nlegs:\n    peer\n    extension 100\nstanding:\n    bans  0",
        )

    def test_json(self) -> None:
        """A program gets one object."""
        fields = Fields({"id": "w-1", "legs": Table(("peer",), [("x",)]), "why": Told("text")})
        self.assertEqual(fields.json(), {"id": "w-1", "legs": [{"peer": "x"}], "why": {"text": "text"}})


class LaterTests(SynchronousTestCase):
    """Answers that take a while."""

    def test_at_once(self) -> None:
        """What is there already needs no waiting; what has failed already is raised."""
        self.assertEqual(settled(succeed(3)), 3)
        self.assertRaises(ZeroDivisionError, settled, fail(ZeroDivisionError()))

    def test_later(self) -> None:
        """The answer comes when it comes, also as JSON."""
        waited_for: Deferred[Told] = Deferred()
        answer = settled(waited_for)
        self.assertIsInstance(answer, Later)
        json = answer.json()
        self.assertNoResult(json)
        waited_for.callback(Told("done", 7))
        self.assertEqual(self.successResultOf(json), 7)

    def test_later_failure(self) -> None:
        """A failure is not lost on the way."""
        waited_for: Deferred[Told] = Deferred()
        answer = settled(waited_for)
        waited_for.errback(ValueError("why"))
        self.failureResultOf(answer, ValueError)


class OfPluginsTests(SynchronousTestCase):
    """What the commands of plugins give."""

    def test_shapes(self) -> None:
        """Plain values become answers: rows a table, a dict fields, a text a sentence."""
        self.assertEqual(repr(answer_of([{"a": 1}, {"b": 2}])), "a  b\n1  -\n-  2")
        self.assertEqual((repr(answer_of([])), answer_of([]).json()), ("nothing", []))
        self.assertEqual(repr(answer_of({"a": 1})), "a  1")
        self.assertEqual(repr(answer_of("done")), "done")
        self.assertEqual(answer_of(3), 3)
