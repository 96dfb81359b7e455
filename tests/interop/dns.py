"""
The DNS of the carriers in the interop tests: a `pbx.testing.dns.DnsServer` on loopback, in a process of its own.

As a program it reads its records as one line of JSON and says its port in a line; it ends with its standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from pbx.testing.dns import DnsServer
from tests.interop.tools import LOOPBACK, PROJECT, environment

__all__ = ["Dns", "service"]


class Dns:
    """A running server; a context manager."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        """``table`` names and their records, ``{"carrier.example": ["60 A 127.0.0.4"]}``."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.dns"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(table) + "\n")
        self._process.stdin.flush()
        self.address = f"{LOOPBACK}:{int(self._process.stdout.readline())}"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def service(domain: str, transport: str, *servers: tuple[str, int], ttl: int = 60) -> dict[str, list[str]]:
    """Records for a SIP service at ``domain``: NAPTR, SRV with falling priority, A for each of the ``servers`` (address, port)."""
    kind = {"udp": "SIP+D2U", "tcp": "SIP+D2T", "tls": "SIPS+D2T"}[transport]
    name = f"_sips._tcp.{domain}" if transport == "tls" else f"_sip._{transport}.{domain}"
    hosts = [f"server{number}.{domain}" for number in range(1, len(servers) + 1)]
    table = {
        domain: [f'{ttl} NAPTR 10 10 "s" "{kind}" "" {name}'],
        name: [f"{ttl} SRV {10 * rank} 0 {port} {host}" for rank, (host, (_, port)) in enumerate(zip(hosts, servers, strict=True), 1)],
    }
    return table | {host: [f"{ttl} A {address}"] for host, (address, _) in zip(hosts, servers, strict=True)}


def main() -> None:
    """Serve until standard input ends."""
    from twisted.internet import reactor, stdio
    from twisted.internet.protocol import Protocol

    server = DnsServer(reactor, json.loads(sys.stdin.readline()))
    server.start()
    print(server.address[1], flush=True)
    waiting = Protocol()
    waiting.connectionLost = lambda *_: reactor.stop()  # type: ignore[method-assign]
    stdio.StandardIO(waiting)
    reactor.run()


if __name__ == "__main__":
    main()
