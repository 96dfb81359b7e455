"""
The exchange as a process of its own, as an operator runs it: ``twistd -n pbx --config FILE`` in a folder, on free ports.

For interop tests and the demonstration. Plain blocking code: nothing here touches a reactor.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["ExchangeProcess", "NotRunning", "free_port", "options_ping"]

_ROOT = Path(__file__).resolve().parents[2]


class NotRunning(AssertionError):
    """The exchange did not start, or ended; the text holds the end of its log."""


def free_port(address: str = "127.0.0.1", room: int = 1) -> int:
    """A port that is free for UDP and TCP on ``address`` right now, and so the next ``room - 1``; even when ``room`` is more than 1."""
    for _ in range(200):
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            first = int(probe.getsockname()[1])
        first += first % 2 if room > 1 else 0
        if first + room < 65535 and all(_is_free(address, port) for port in range(first, first + room)):
            return first
    raise AssertionError(f"no {room} free ports in a row on {address}")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_free(address: str, port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(_family(address), kind) as probe:
                probe.bind((address, port))
    except OSError:
        return False
    return True


def options_ping(address: str, port: int, timeout: float = 0.3) -> bool:
    """Whether something at ``address``:``port`` answers a SIP OPTIONS over UDP, with any status."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(timeout)
        sender.bind((address, 0))
        here = sender.getsockname()[1]
        stamp = f"{here}.{time.monotonic_ns()}"
        lines = (
            f"OPTIONS sip:{address}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {address}:{here};rport;branch=z9hG4bK{stamp}",
            "Max-Forwards: 70",
            f"From: <sip:ping@{address}>;tag={here}",
            f"To: <sip:{address}:{port}>",
            f"Call-ID: {stamp}@{address}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
            "",
            "",
        )
        try:
            sender.sendto("\r\n".join(lines).encode(), (address, port))
            return sender.recv(65536).startswith(b"SIP/2.0 ")
        except OSError:  # a timeout, or "connection refused" of a port that is not bound yet
            return False


class ExchangeProcess:
    """One running exchange. ``folder`` holds its configuration, its log and its ``var``."""

    def __init__(self, folder: Path, configuration: str, *, address: str, sip_port: int, shell_port: int) -> None:
        self.folder = folder
        self.address = address
        self.sip_port = sip_port
        self.shell_port = shell_port
        self.log = folder / "log"
        self._configuration = folder / "pbx.toml"
        self._configuration.write_text(configuration, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        """Where phones find it: address and port with a colon between them."""
        return f"{self.address}:{self.sip_port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def memory(self) -> int:
        """Octets that it has in memory (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def start(self, timeout: float = 15.0) -> None:
        """
        Start it and wait until it answers OPTIONS.

        Raises:
            NotRunning: it ended at once, or did not answer in ``timeout`` seconds.
        """
        path = os.environ.get("PYTHONPATH")
        environment = os.environ | {"PYTHONPATH": f"{_ROOT}{os.pathsep}{path}" if path else str(_ROOT), "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # Plain twistd by module: the venv's script may not be on the path. The pid file is off: a pid is ours to know.
                [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "pbx", "-c", "pbx.toml"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + timeout
        while not options_ping(self.address, self.sip_port):
            if self._process.poll() is not None:
                raise NotRunning(f"the exchange ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise NotRunning(f"no answer to OPTIONS at {self.server} in {timeout:g} s:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to end, insist after ``timeout`` seconds; its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """kill -9: what a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def shell(self, expression: str, timeout: float = 10.0) -> str:
        """What the shell prints for ``expression``, over ssh with the key that the exchange made for itself."""
        done = subprocess.run(
            [
                *("ssh", "-p", str(self.shell_port), "-i", str(self.folder / "var" / "shell_key"), "-F", "none"),
                *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
                *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", f"admin@{self.address}", expression),
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise NotRunning(f"the shell said {done.stderr.strip() or done.stdout.strip()!r} to {expression}:\n{self.tail(20)}")
        return done.stdout

    def shell_json(self, expression: str) -> Any:
        """The same for an expression that prints JSON, such as ``sizes().json()``."""
        return json.loads(self.shell(expression))
