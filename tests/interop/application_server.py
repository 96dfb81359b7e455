"""An application server on a socket: it asks for callbacks, and reads what comes of them."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self

from tests.interop.tools import LOOPBACK

__all__ = ["ApplicationServer"]


class ApplicationServer:
    """One socket toward the callback port; a context manager."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((LOOPBACK, port))
        self.responses: dict[str, dict[str, str]] = {}
        """Those that have come, by id; each has been acknowledged."""
        self.acks: dict[str, str] = {}
        """``result`` of the ACKs, by id."""

    def request(self, id: str, called1: str, called2: str, **more: str) -> None:
        """Ask for a callback."""
        pairs = {"id": id, "called1": called1, "called2": called2, **more}
        self.send("REQUEST: " + ", ".join(f"{name}={value}" for name, value in pairs.items()))

    def send(self, text: str) -> None:
        """Send a datagram."""
        self._socket.send(text.encode())

    def listen(self, until: float) -> None:
        """Read what comes, until that moment of ``time.monotonic``."""
        while (seconds := until - time.monotonic()) > 0:
            self._socket.settimeout(seconds)
            try:
                text = self._socket.recv(65536).decode()
            except TimeoutError:
                return
            method, _, rest = text.partition(": ")
            pairs = dict(pair.split("=", 1) for pair in rest.split(", "))
            if method == "ACK":
                self.acks[pairs["id"]] = pairs["result"]
            elif method == "RESPONSE":
                self.responses[pairs["id"]] = pairs
                self.send(f"ACK: id={pairs['id']}")

    def response(self, id: str, timeout: float = 10.0) -> dict[str, str]:
        """The RESPONSE of that callback."""
        deadline = time.monotonic() + timeout
        while id not in self.responses and time.monotonic() < deadline:
            self.listen(min(deadline, time.monotonic() + 0.1))
        assert id in self.responses, f"no RESPONSE for {id} in {timeout:g} s; ACK: {self.acks.get(id)}"
        return self.responses[id]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
