"""
What this system knows about names without asking: ``/etc/resolv.conf`` and ``/etc/hosts``.

The files are looked at again when half a minute has passed and read again when they have changed. Of
``resolv.conf`` the servers are taken; a domain to search in is not, as carriers are named in full.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pbx.net.address import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IReactorTime

    from pbx.net.dns_client import Server

_LOOK_AGAIN = 30.0
_MOST_SERVERS = 3
"""As many as the system's own resolver uses (resolv.conf(5), MAXNS)."""
_LARGEST = 1 << 20
"""Octets of a file that are read."""


class SystemNames:
    """
    The two files.

    Args:
        clock: Says when to look again.
        servers_file: In the form of resolv.conf(5).
        hosts_file: In the form of hosts(5).
    """

    def __init__(self, clock: IReactorTime, servers_file: str = "/etc/resolv.conf", hosts_file: str = "/etc/hosts") -> None:
        self._servers_file = _File(clock, Path(servers_file))
        self._hosts_file = _File(clock, Path(hosts_file))
        self._servers: list[Server] = []
        self._hosts: dict[str, list[str]] = {}

    def servers(self) -> list[Server]:
        """The servers of the system; this host's own where none are named (resolv.conf(5))."""
        self._servers_file.read_into(self._take_servers)
        return self._servers or [("127.0.0.1", 53)]

    def addresses(self, name: str) -> list[str]:
        """The addresses that ``name`` (in small letters) has in the file; those of ``localhost`` are known without it (RFC 6761 §6.3)."""
        self._hosts_file.read_into(self._take_hosts)
        found = self._hosts.get(name, [])
        return found or (["127.0.0.1", "::1"] if name == "localhost" or name.endswith(".localhost") else [])

    def _take_servers(self, lines: Iterator[list[str]]) -> None:
        found = [words[1] for words in lines if words[0] == "nameserver" and len(words) > 1 and is_address(words[1])]
        self._servers = [(address, 53) for address in found[:_MOST_SERVERS]]

    def _take_hosts(self, lines: Iterator[list[str]]) -> None:
        self._hosts = {}
        for address, *names in lines:
            if is_address(address):
                for name in names:
                    own = self._hosts.setdefault(name.lower(), [])
                    if address not in own:
                        own.append(address)


class _File:
    """A file of words, read anew when it has changed."""

    def __init__(self, clock: IReactorTime, path: Path) -> None:
        self._clock = clock
        self._path = path
        self._next = float("-inf")
        self._seen: tuple[int, int] | None = None

    def read_into(self, take: Callable[[Iterator[list[str]]], None]) -> None:
        """Give its lines, as words without comments, to ``take`` if there is anything new; a file that is not there has none."""
        now = self._clock.seconds()
        if now < self._next:
            return
        self._next = now + _LOOK_AGAIN
        try:
            state = os.stat(self._path)
            seen = (state.st_mtime_ns, state.st_size)
            if seen == self._seen:
                return
            with self._path.open("rb") as file:
                text = file.read(_LARGEST).decode("ascii", "replace")
        except OSError:
            seen, text = None, ""
        self._seen = seen
        lines = (line.partition("#")[0].partition(";")[0].split() for line in text.splitlines())
        take(words for words in lines if words)
