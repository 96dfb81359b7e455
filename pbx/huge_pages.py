"""
Huge pages for what is in memory after the start (Linux, transparent huge pages).

A call that comes after a pause finds the processor's caches and its table of pages cold, and what the interpreter touches
lies all over the heap: with pages of 2 MiB the heap needs a few entries of that table instead of thousands.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_ADVISE_HUGE, _COLLAPSE = 14, 25
"""MADV_HUGEPAGE, MADV_COLLAPSE (since Linux 6.1): madvise(2)."""
_HUGE = 2 << 20
_ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 +(?:\[heap\])?$", re.MULTILINE)


def collapse(maps: Path = Path("/proc/self/maps")) -> int:
    """
    Put the private, writable memory of this process on huge pages.

    Where the kernel has none, or does not want to, everything stays as it is.

    Args:
        maps: proc_pid_maps(5).

    Returns:
        Octets that are on huge pages now.
    """
    try:
        found = _ANONYMOUS.findall(maps.read_text("ascii", "replace"))
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return 0
    total = 0
    for first, last in found:
        begin = -(-int(first, 16) // _HUGE) * _HUGE
        size = int(last, 16) // _HUGE * _HUGE - begin
        if size > 0 and not advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _ADVISE_HUGE):
            total += size if not advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _COLLAPSE) else 0
    return total
