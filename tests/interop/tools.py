"""What the interop tests share: which tools there are, waiting, ports, small programs run to their end."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from twisted.trial.unittest import SkipTest

__all__ = ["LOOPBACK", "PROJECT", "Unavailable", "environment", "need", "need_file", "need_ipv6", "need_module", "run", "until"]

PROJECT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
_T = TypeVar("_T")


class Unavailable(AssertionError):
    """A tool is missing although ``PBX_INTEROP=required``."""


def _missing(what: str) -> None:
    if os.environ.get("PBX_INTEROP") == "required":
        raise Unavailable(what)
    raise SkipTest(what)


def need(program: str, package: str) -> str:
    """The path of ``program``; without it the test is skipped, or fails when ``PBX_INTEROP=required``."""
    found = shutil.which(program)
    if found is None:
        _missing(f"{program} is not installed (apt-get install {package})")
    return found or ""


def need_module(name: str, package: str) -> None:
    """The same for a Python module."""
    if importlib.util.find_spec(name) is None:
        _missing(f"module {name} is not installed (pip install {package})")


def need_file(name: str, folders: Iterable[str], package: str) -> None:
    """The same for a file in one of ``folders``."""
    if not any((Path(folder) / name).exists() for folder in folders):
        _missing(f"{name} is not installed (apt-get install {package})")


def environment() -> dict[str, str]:
    """The environment for our own Python processes: the project first on the path."""
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{path}" if path else str(PROJECT), "PYTHONUNBUFFERED": "1"}


def until(what: str, probe: Callable[[], _T | None], timeout: float = 5.0, every: float = 0.05) -> _T:
    """Ask ``probe`` until it gives something true, and return that; an AssertionError names ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last seen: {found!r})")
        time.sleep(every)


def need_ipv6() -> None:
    """The same for the address ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        _missing("this host has no ::1")


def run(*command: str, timeout: float = 30.0, cwd: Path | None = None) -> str:
    """Run a small program to its end and return its standard output; AssertionError with both outputs when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout
