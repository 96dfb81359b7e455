"""
What an attacker has: sockets at addresses of his own, messages by hand, and a clock.

The whole of 127.0.0.0/8 is this host, so an attacker, a victim and a bystander each have an address.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from types import TracebackType
from typing import Self

__all__ = ["Flood", "Port", "percentile", "request"]

_numbers = count(1)


def request(
    method: str,
    target: str,
    sender: tuple[str, int],
    *,
    via: str = "",
    user: str = "mallory",
    more: Sequence[str] = (),
    body: str = "",
    transport: str = "UDP",
) -> bytes:
    """A request as a telephone would send it; ``via`` stands instead of the sender's own sent-by and parameters."""
    number = next(_numbers)
    host, port = sender
    lines = (
        f"{method} {target} SIP/2.0",
        f"Via: SIP/2.0/{transport} {via or f'{host}:{port};rport'};branch=z9hG4bK{number}.{time.monotonic_ns()}",
        "Max-Forwards: 70",
        f"From: <sip:{user}@{host}>;tag=t{number}",
        f"To: <{target}>",
        f"Call-ID: {number}.{time.monotonic_ns()}@{host}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:{user}@{host}:{port}>",
        *more,
        f"Content-Length: {len(body.encode())}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Port:
    """A UDP socket at an address; a context manager."""

    def __init__(self, address: str, server: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._socket.bind((address, 0))
        self.server = server
        self.at: tuple[str, int] = self._socket.getsockname()
        """Address and port."""

    def send(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        """To the server, or elsewhere; a full buffer loses it, as the network would."""
        try:
            self._socket.sendto(data, to or self.server)
        except OSError:
            return

    def hear(self, timeout: float = 1.0) -> bytes:
        """The next datagram; b"" for none."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(65536)
        except OSError:
            return b""

    def hear_all(self, timeout: float = 0.3) -> list[bytes]:
        """All that comes until it is quiet for ``timeout`` seconds."""
        heard = []
        while data := self.hear(timeout):
            heard.append(data)
        return heard

    def ask(self, data: bytes, timeout: float = 1.0) -> bytes:
        """Send, and give the first answer that is final."""
        self.send(data)
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            answer = self.hear(left)
            if answer and not answer.startswith(b"SIP/2.0 1"):
                return answer
        return b""

    def ping(self, timeout: float = 1.0) -> float | None:
        """Seconds until an OPTIONS is answered; None: not in time."""
        self.hear_all(0.0001)
        began = time.monotonic()
        host, port = self.server
        answer = self.ask(request("OPTIONS", f"sip:{host}:{port}", self.at), timeout)
        return time.monotonic() - began if answer else None

    def close(self) -> None:
        """Free it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Flood:
    """Calls ``send`` so many times a second, in a thread of its own, while the ``with`` block runs."""

    def __init__(self, send: Callable[[int], None], rate: float) -> None:
        self._send = send
        self.rate = rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(0.005):
            due = int((time.monotonic() - began) * self.rate)
            while self.sent < due:
                self._send(self.sent)
                self.sent += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(5.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
