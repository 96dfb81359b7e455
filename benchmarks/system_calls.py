"""System calls a call, counted by strace: exact, and the same on a busy machine (nearly)."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Invalid, interleaved
from benchmarks.servers import Server
from benchmarks.stand import Stand

_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", re.MULTILINE)
_MOST = 12
_TRIES = 3


def system_calls(stand: Stand, rate: int) -> Figure:
    """All system calls of all threads, idle ones in between included, over the calls made meanwhile."""
    figure = Figure(
        f"system_calls_{rate}", f"system calls a call, {rate}/s", "calls", against="floor_b2b.py", judged="value", gate=40, goal=30
    )
    ours, reference = stand.exchange(), stand.floor()
    seconds = min(stand.effort.seconds, 6.0)
    commands: dict[str, None] = dict.fromkeys(stand.command_lines(ours, reference))
    for server in (ours, reference):
        stand.run(server, stand.load(rate, min(stand.effort.warm, 2.0))).wait(tolerated=1.0)

    def one(server: Server) -> dict[str, float]:
        # strace slows a server down: on a busy machine it may come too late for SIPp, and what it repeats would be counted.
        for _ in range(_TRIES - 1):
            try:
                return once(server)
            except Invalid as why:
                figure.notes.append(f"measured again: {why}")
                stand.say(f"  measured again: {why}")
        return once(server)

    def once(server: Server) -> dict[str, float]:
        count = Count(stand, server)
        run = stand.run(server, stand.load(rate, seconds))
        commands[count.command_line] = None
        commands[run.command_line] = None
        try:
            done = run.wait()
        finally:
            found = count.stop()
        stand.say(f"  {figure.title}: {server.name} {sum(found.values()) / done:.1f}")
        return {name: calls / done for name, calls in found.items()}

    pairs = interleaved(stand.effort.counted, partial(one, ours), partial(one, reference))
    figure.take([(sum(mine.values()), sum(its.values())) for mine, its in pairs])
    for name, found in (("ours", pairs[-1][0]), ("reference", pairs[-1][1])):
        figure.details[name] = {call: round(number, 2) for call, number in sorted(found.items(), key=lambda item: -item[1])}
        listed = ", ".join(f"{number:.1f} {call}" for call, number in list(figure.details[name].items())[:_MOST])
        figure.notes.append(f"{name}: {listed}")
    figure.commands = list(commands)
    return figure


class Count:
    """strace at work on a server; begins at once."""

    def __init__(self, stand: Stand, server: Server) -> None:
        if stand.tools.strace is None:
            raise Invalid("there is no strace: sudo apt-get install -y strace")
        self._table = stand.folder / "strace.txt"
        self._table.unlink(missing_ok=True)
        command = [stand.tools.strace, "-c", "-f", "-o", str(self._table), "-p", str(server.pid)]
        self.command_line = shlex.join(command)
        said = stand.folder / "strace.err"
        with said.open("wb") as error:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=error, stderr=error)
        _until_attached(said, self._process)

    def stop(self) -> dict[str, int]:
        """Detach; give how often each system call was made."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        return {name: int(calls) for calls, name in _ROW.findall(self._table.read_text("ascii", "replace")) if name != "total"}


def _until_attached(said: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 5.0
    while time.monotonic() < end and process.poll() is None:
        if "attached" in said.read_text("utf-8", "replace"):
            time.sleep(0.2)  # and the other threads
            return
        time.sleep(0.02)
    process.kill()
    raise Invalid(f"strace does not attach: {said.read_text('utf-8', 'replace').strip()}; a container may forbid ptrace")
