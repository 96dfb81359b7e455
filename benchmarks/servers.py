"""Servers under measurement: started in a session of their own, asked what they have used, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import Invalid

NETWORK = f"127.7.{1 + os.getpid() % 250}."
"""Where this run takes place, so that no other run, and nobody who uses ``bench.toml`` as it is, has its ports."""
SERVER, CALLER, CALLEE, CROWD = f"{NETWORK}1", f"{NETWORK}2", f"{NETWORK}3", f"{NETWORK}4"

_CPU_CLOCK = 2
"""clock_getcpuclockid(3), as Linux makes it: the inverted process id, three bits to the left, and this."""

OPTIONS = (
    "OPTIONS sip:ping@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bKping{number}\r\nMax-Forwards: 70\r\n"
    "From: <sip:trunk@{me}>;tag=ping{number}\r\nTo: <sip:ping@{host}>\r\nCall-ID: ping{number}@{me}\r\nCSeq: 1 OPTIONS\r\n"
    "Contact: <sip:trunk@{me}>\r\nContent-Length: 0\r\n\r\n"
)


class Server:
    """
    A server: the command, all processes of its session, its log.

    Args:
        name: For messages and the log's name.
        command: What is started.
        folder: Working directory; the log is written there.
        port: UDP port of its SIP on `SERVER`; 0: it speaks none.
        environment: More of it.
    """

    def __init__(self, name: str, command: list[str], folder: Path, port: int = 0, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = command
        self.port = port
        self.idle = 0.0
        """CPU seconds a second when it has nothing to do; see `settle`."""
        self.log = folder / f"{name}.log"
        # Users' Python writes its compiled files; a start that compiles everything anew is not theirs.
        unlike_users = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
        surroundings = {key: value for key, value in os.environ.items() if key not in unlike_users} | dict(environment or {})
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Process id, and id of the session."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_for_options(self, limit: float = 20.0) -> float:
        """
        Ask every 10 ms until an OPTIONS is answered.

        Returns:
            Seconds since the start.

        Raises:
            Invalid: It has ended, or does not answer.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((CALLER, 0))
            sock.settimeout(0.01)
            me = f"{CALLER}:{sock.getsockname()[1]}"
            number = 0
            while time.monotonic() - self.started_at < limit and self.alive:
                number += 1
                try:
                    text = OPTIONS.format(host=SERVER, port=self.port, me=me, number=f"{self.pid}x{number}")
                    sock.sendto(text.encode(), (SERVER, self.port))
                    if sock.recv(65535).startswith(b"SIP/2.0"):
                        return time.monotonic() - self.started_at
                except ConnectionRefusedError:
                    time.sleep(0.01)
                except TimeoutError:
                    continue
        raise Invalid(f"{self.name} does not answer OPTIONS: {self.last_words()}")

    def settle(self, seconds: float = 2.0) -> float:
        """Measure what it uses when idle, as CPU seconds a second."""
        time.sleep(0.5)
        cpu, begin = self.cpu(), time.monotonic()
        time.sleep(seconds)
        self.idle = (self.cpu() - cpu) / (time.monotonic() - begin)
        return self.idle

    def cpu(self) -> float:
        """
        User and system time of the session's processes, all threads, in seconds.

        By the processes' CPU clocks: the ticks of proc(5) are 10 ms each, as much as the reference may use in a second.
        """
        total = 0.0
        for pid in self._pids():
            with suppress(OSError):  # it has ended since
                total += time.clock_gettime(~pid << 3 | _CPU_CLOCK)
        return total

    def memory(self) -> float:
        """
        Memory of the session's processes that is no file's, in KiB.

        Not the proportional set size: that falls when others start programs that share pages with it.
        """
        total = 0
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
                if line.startswith("Anonymous:"):
                    total += int(line.split()[1])
        return float(total)

    def last_words(self) -> str:
        """The end of its log, on one line."""
        return " | ".join(self.log.read_text("utf-8", "replace").splitlines()[-4:])[-600:] or "it has said nothing"

    def stop(self) -> None:
        """Ask it to end; after 10 s it is made to."""
        for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            for pid in self._pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            end = time.monotonic() + patience
            while time.monotonic() < end:
                if self._process.poll() is not None and not self._pids():
                    return
                time.sleep(0.05)

    def _pids(self) -> list[int]:
        """Of each process of the session that has not ended (proc(5), stat)."""
        found: list[int] = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = Path(f"/proc/{entry}/stat").read_text("ascii", "replace")
                except OSError:
                    continue
                fields = text[text.rindex(")") + 2 :].split()
                if int(fields[3]) == self._process.pid and fields[0] != "Z":
                    found.append(int(entry))
        return found


class Spent:
    """CPU that a server spends between making this and asking, less its idle share."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cpu = server.cpu()
        self._begin = time.monotonic()

    def seconds(self) -> float:
        """CPU seconds so far."""
        if not self._server.alive:
            raise Invalid(f"{self._server.name} has ended: {self._server.last_words()}")
        return self._server.cpu() - self._cpu - self._server.idle * (time.monotonic() - self._begin)
