"""
SIPp with the scenarios of the folder ``sipp/``: started, waited for, its statistics read.

A scenario of a caller runs a number of calls and ends; one of a callee is started first and stopped by its process id.
"""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pbx.testing.exchange_process import free_port
from tests.interop.tools import LOOPBACK, need

__all__ = ["Sipp", "Statistics"]

_HEADING = re.compile(r"^-{20,} [^\n]*\n\w+ message (sent|received) [^\n]*\n\n", re.MULTILINE)
_SCENARIOS = Path(__file__).resolve().parent / "sipp"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What SIPp counted, from its statistics file."""

    created: int
    successful: int
    failed: int
    retransmissions: int
    dead: int  # messages that belonged to no call any more
    mean_delay: float  # seconds from the INVITE (the one that is not challenged) to its 200
    errors: str  # what SIPp wrote into its error file

    def __str__(self) -> str:
        return f"{self.successful} of {self.created} calls, {self.failed} failed, {self.retransmissions} retransmissions\n{self.errors}"


class Sipp:
    """One run of SIPp; a context manager, so that no callee outlives its test."""

    def __init__(
        self,
        scenario: str,
        target: str = "",
        *,
        address: str = LOOPBACK,
        port: int = 0,
        service: str = "",
        from_user: str = "301",
        calls: int = 0,
        rate: float = 10.0,
        hold: float = 0.1,
        users: tuple[tuple[str, str], ...] = (),
        transport: str = "u1",
        patience: float = 20.0,
        traced: bool = False,
    ) -> None:
        """
        ``target`` "address:port" for callers; ``calls`` 0 = until stopped; ``rate`` calls a second; ``hold`` seconds a call;
        ``users`` (user, password) for scenarios with digest, used in turn; ``patience`` seconds that one message is waited for;
        ``traced`` if `received` is to tell what came.
        """
        program = need("sipp", "sip-tester")
        self.address = address
        self.port = port or free_port(address)
        self._folder = tempfile.TemporaryDirectory(prefix="pbx-sipp-")
        folder = Path(self._folder.name)
        self._statistics = folder / "statistics.csv"
        self._errors = folder / "errors.log"
        command = [program, *([target] if target else []), "-sf", str(_SCENARIOS / f"{scenario}.xml")]
        command += ["-i", address, "-p", str(self.port), "-mi", address, "-mp", str(free_port(address, 4)), "-t", transport]
        command += [
            "-s",
            service or "service",
            "-key",
            "from_user",
            from_user,
            "-r",
            f"{rate:g}",
            "-d",
            str(round(hold * 1000)),
            "-nostdin",
        ]
        command += ["-recv_timeout", str(round(patience * 1000)), "-trace_stat", "-stf", str(self._statistics), "-fd", "1"]
        command += ["-trace_err", "-error_file", str(self._errors), "-l", "5000", "-aa"]
        self._messages = folder / "messages.log"
        if traced:
            command += ["-trace_msg", "-message_file", str(self._messages)]
        if users and target:
            # SIPp's own guess is the address alone; the digest is over the Request-URI (RFC 7616 §3.4).
            command += ["-auth_uri", f"{service}@{target}" if service else target]
        if calls:
            command += ["-m", str(calls)]
        if users:
            table = folder / "users.csv"
            # SIPp fills in no keyword inside another: the table holds the whole one.
            lines = (f"{user};[authentication username={user} password={password}]\n" for user, password in users)
            table.write_text("SEQUENTIAL\n" + "".join(lines))
            command += ["-inf", str(table)]
        self._output = (folder / "output").open("wb+")
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, env={"TERM": "xterm"}
        )

    @property
    def at(self) -> str:
        """ "address:port" where it listens."""
        return f"{self.address}:{self.port}"

    def wait(self, timeout: float = 60.0) -> Statistics:
        """Wait for the end of all calls."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"SIPp did not end in {timeout:g} s: {self.statistics()}\n{self._printed()}") from None
        return self.statistics()

    def finish(self, timeout: float = 20.0) -> Statistics:
        """Let the calls that are up end, take no more, and wait for that."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)
        return self.wait(timeout)

    def stop(self) -> None:
        """End it now."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def statistics(self) -> Statistics:
        """The last line of the statistics file; zeros when there is none."""
        errors = self._errors.read_text(errors="replace")[-3000:] if self._errors.exists() else ""
        rows = []
        if self._statistics.exists():
            with self._statistics.open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter=";"))
        if not rows:
            return Statistics(0, 0, 0, 0, 0, 0.0, errors or self._printed())
        last = rows[-1]

        def count(name: str) -> int:
            return int(last.get(name) or 0)

        return Statistics(
            count("TotalCallCreated"),
            count("SuccessfulCall(C)"),
            count("FailedCall(C)"),
            count("Retransmissions(C)"),
            count("DeadCallMsgs(C)"),
            _clock(last.get("ResponseTimeinvite(C)") or ""),
            errors,
        )

    def trace(self) -> str:
        """All messages, both ways; only when it is ``traced``."""
        return self._messages.read_bytes().decode(errors="replace").replace("\r", "") if self._messages.exists() else ""

    def received(self, start: str = "") -> list[str]:
        """The messages that have come and begin with ``start``, in order; only when it is ``traced``."""
        parts = _HEADING.split(self.trace())  # text before the first, then "sent" or "received" and a message in turn
        return [message for way, message in zip(parts[1::2], parts[2::2], strict=True) if way == "received" and message.startswith(start)]

    def _printed(self) -> str:
        self._output.flush()
        return Path(self._output.name).read_text(errors="replace")[-2000:]

    def __enter__(self) -> Self:
        time.sleep(0.2)  # SIPp binds its sockets before it says so anywhere
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._output.close()
        self._folder.cleanup()


def _clock(text: str) -> float:
    """Seconds of "00:00:00:012345"."""
    parts = text.split(":")
    if len(parts) != 4:
        return 0.0
    hours, minutes, seconds, micro = (int(part) for part in parts)
    return hours * 3600 + minutes * 60 + seconds + micro / 1e6
