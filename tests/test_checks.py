"""The script behind ``make test``: how it counts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).resolve().parent.parent / ".ci" / "checks.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("checks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CountTests(SynchronousTestCase):
    """Passed and failed tests, by trial's last words."""

    def counted(self, words: str) -> tuple[int, int]:
        counts: tuple[int, int] = script().counted(words)
        return counts

    def test_all_well(self) -> None:
        """Every test passed."""
        self.assertEqual(self.counted("Ran 12 tests in 1.0s\n\nPASSED (successes=12)\n"), (12, 0))

    def test_skipped(self) -> None:
        """A skipped test has neither passed nor failed."""
        self.assertEqual(self.counted("Ran 12 tests in 1.0s\n\nPASSED (skips=2, successes=10)\n"), (10, 0))

    def test_failed(self) -> None:
        """Failures and errors are failed tests."""
        self.assertEqual(self.counted("Ran 12 tests in 1.0s\n\nFAILED (failures=1, errors=2, successes=9)\n"), (9, 3))

    def test_more_errors_than_tests(self) -> None:
        """A test may err twice, when it runs and when it is cleaned up: never less than none has passed."""
        self.assertEqual(self.counted("Ran 1 tests in 1.0s\n\nFAILED (errors=2)\n"), (0, 2))

    def test_cut_off(self) -> None:
        """A run that came to no end has failed."""
        self.assertEqual(self.counted("tests.test_config\n  Segmentation fault\n"), (0, 1))

    def test_the_last_counts(self) -> None:
        """What a test prints of another run does not count."""
        self.assertEqual(self.counted("Ran 1 tests in 1s\n\nPASSED (successes=1)\nRan 2 tests in 1s\n\nFAILED (failures=2)\n"), (0, 2))
