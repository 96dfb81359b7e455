"""Huge pages: a matter of speed that must never be one of life and death."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pbx.huge_pages import collapse

_PROGRAM = """
from pbx.huge_pages import collapse
kept = bytearray(16 << 20)
kept[::4096] = b"x" * 4096
objects = [str(number) for number in range(300000)]
print(collapse())
assert kept[::4096] == b"x" * 4096 and objects == [str(number) for number in range(300000)]
"""
_HAS_THEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")


class CollapseTests(SynchronousTestCase):
    """In a process of its own: the memory of the test runner is not to be moved about."""

    def test_everything_stays_as_it_is(self) -> None:
        """What was there is there afterwards; where the kernel has huge pages, some megabytes are on them."""
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        if _HAS_THEM.exists() and "[never]" not in _HAS_THEM.read_text("ascii"):
            self.assertGreaterEqual(int(done.stdout), 8 << 20)

    def test_no_such_system(self) -> None:
        """Where there is no /proc nothing happens."""
        self.assertEqual(collapse(Path(self.mktemp())), 0)
