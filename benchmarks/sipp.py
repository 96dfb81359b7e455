"""Calls and registrations by SIPp: one run, and what came of it."""

from __future__ import annotations

import csv
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Invalid
from benchmarks.servers import CALLEE, CALLER, SERVER, Server

CALLER_PORT, CALLEE_PORT = 15070, 15080
NUMBER = "1000"
USERS = 1000
PASSWORD = "secret"


@dataclass(frozen=True, slots=True)
class Load:
    """
    What is asked of a server.

    Attributes:
        caller: Scenario of the calling side.
        callee: Scenario of the called side; None: there is none (REGISTER).
        rate: Calls a second.
        count: Calls.
        hold: Seconds from answer to BYE.
        users: Whether the scenario takes users from a file, ``u0000`` and so on.
        source: Where the calling side is.
    """

    caller: Path
    callee: Path | None
    rate: int
    count: int
    hold: float = 0.1
    users: bool = False
    source: str = CALLER


class Run:
    """SIPp processes on their way; begins at once."""

    def __init__(self, sipp: str, server: Server, load: Load, folder: Path) -> None:
        self._server = server
        self._load = load
        self._folder = Path(tempfile.mkdtemp(prefix="sipp-", dir=folder))
        self._callee = None
        common = ["-nostdin", "-nd", "-default_behaviors", "all", "-max_socket", "8", "-buff_size", "2097152", "-deadcall_wait", "500"]
        if load.callee is not None:
            self._callee = self._start(
                "callee", [sipp, CALLER, "-sf", str(load.callee), *_at(CALLEE, CALLEE_PORT), *common, "-rtcheck", "loose"]
            )
            time.sleep(0.3)
        self.command = [sipp, f"{SERVER}:{server.port}", "-sf", str(load.caller), *_at(load.source, CALLER_PORT), *common]
        self.command += ["-s", NUMBER, "-key", "from_user", "trunk", "-r", str(load.rate), "-m", str(load.count)]
        self.command += [
            "-l",
            "100000",
            "-d",
            str(int(load.hold * 1000)),
            "-recv_timeout",
            "8000",
            "-trace_stat",
            "-fd",
            "1",
            "-stf",
            "stat.csv",
        ]
        if load.users:
            users = [f"u{number:04d};[authentication username=u{number:04d} password={PASSWORD}]\n" for number in range(USERS)]
            (self._folder / "users.csv").write_text("SEQUENTIAL\n" + "".join(users), "ascii")
            self.command += ["-inf", "users.csv"]
        self._caller = self._start("caller", self.command)

    @property
    def command_line(self) -> str:
        """The calling side's command, for those who want to repeat it."""
        return shlex.join(self.command)

    def count(self, column: str) -> int:
        """A column of SIPp's statistics, as of the last second."""
        try:
            return int(self._column(column) or 0)
        except ValueError:
            return 0

    def mean(self, column: str) -> float:
        """A column that is a time, in seconds."""
        hours, minutes, seconds, micros = (int(part) for part in (self._column(column) or "0:0:0:0").split(":"))
        return 3600 * hours + 60 * minutes + seconds + micros / 1e6

    def _column(self, name: str) -> str:
        try:
            with (self._folder / "stat.csv").open(newline="") as file:
                rows = list(csv.reader(file, delimiter=";"))
            return dict(zip(rows[0], rows[-1], strict=False)).get(name) or ""
        except (OSError, IndexError):
            return ""

    def wait(self, tolerated: float = 0.001) -> int:
        """
        Wait for the end.

        Args:
            tolerated: Share of calls that may fail.

        Returns:
            Calls that succeeded.

        Raises:
            Invalid: More failed than may, or 1 % or more of the messages had to be repeated.
        """
        load = self._load
        try:
            self._caller.wait(load.count / load.rate * 1.5 + load.hold + 25)
        except subprocess.TimeoutExpired:
            self._caller.kill()
            self._caller.wait()
        time.sleep(0.7)  # what is left of the last calls is the server's to do, too
        self.stop()
        succeeded, repeated = self.count("SuccessfulCall(C)"), self.count("Retransmissions(C)")
        if load.count - succeeded > load.count * tolerated:
            words = (self._folder / "caller.out").read_text("utf-8", "replace")[-300:].split("\n")
            raise Invalid(f"{self._server.name}: {load.count - succeeded} of {load.count} failed at {load.rate}/s; {' '.join(words)}")
        if repeated > max(load.count * 0.01, 1):
            raise Invalid(f"{self._server.name}: {repeated} retransmissions in {load.count} calls at {load.rate}/s")
        return succeeded

    def stop(self) -> None:
        """End both sides."""
        for process in (self._caller, self._callee):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(3)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.out").open("wb") as out:
            return subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)


def _at(address: str, port: int) -> list[str]:
    return ["-i", address, "-p", str(port), "-mi", address, "-mp", "16000"]
