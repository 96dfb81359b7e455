"""
Traces: the SIP messages of one number as they go by, to a terminal or into a file.

Each trace has an owner, an end and a bound: those to a terminal end with it, those to a file after a day or a hundred
megabytes.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbx.interfaces import OperationError
from pbx.log import Log
from pbx.shell.pcap import HEADER
from pbx.shell.seen import as_packet, as_text, numbers_in
from pbx.store.secrets import make_folder

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from pbx.trace import MessageLog, Seen

MOST_TRACES = 16
LONGEST = 86_400.0
"""Seconds that a trace into a file may take."""
BIGGEST = 100_000_000
"""Octets of a file."""
_GATHER = 0.25
"""Seconds that messages are gathered before they are written, outside the loop."""
_MOST_DIALOGS = 1000

_log = Log(namespace="pbx.shell")


class Trace:
    """
    One number that is watched.

    Attributes:
        number: Whose messages are shown.
        to: ``"terminal"``, or the file's name.
        owner: Whose it is; None for a file, which outlives the terminal.
        count: Messages shown so far.
    """

    def __init__(self, number: str, to: str, owner: object, show: Callable[[Seen], None], finish: Callable[[], None]) -> None:
        self.number = number
        self.to = to
        self.owner = owner
        self.count = 0
        self.finish = finish
        self.timer: IDelayedCall | None = None
        self._show = show
        self._digits = number.encode()
        # Call-IDs in which the number has turned up: what belongs to them is shown though the number is not in it.
        self._dialogs: OrderedDict[str, None] = OrderedDict()

    def look(self, seen: Seen) -> None:
        """Show the message if it is about the number."""
        message = seen.parsed()
        if message is None:
            return
        call_id = message.call_id
        if call_id not in self._dialogs:
            if self.number not in numbers_in(message):
                return
            self._dialogs[call_id] = None
            if len(self._dialogs) > _MOST_DIALOGS:
                self._dialogs.popitem(last=False)
        self.count += 1
        self._show(seen)


class Traces:
    """All traces of the process."""

    def __init__(
        self,
        messages: MessageLog,
        clock: IReactorTime,
        wall: Callable[[], float],
        folder: Path,
        in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        """
        Args:
            messages: Tells of each message.
            clock: The one that `Seen.at` is of.
            wall: Seconds of Unix time.
            folder: Where files go.
            in_thread: Runs a function outside the loop.
        """
        self.running: list[Trace] = []
        self._messages = messages
        self._clock = clock
        self._wall = wall
        self._folder = folder
        self._in_thread = in_thread

    def to_terminal(self, number: str, owner: object, write: Callable[[str], None]) -> Trace:
        """
        Show the messages of ``number`` as they go by, until the owner is gone.

        Raises:
            OperationError: There are too many traces.
        """
        return self._begin(Trace(number, "terminal", owner, lambda seen: write(as_text(seen, self._moment(seen))), lambda: None))

    def to_file(self, number: str, name: str) -> tuple[Trace, Path]:
        """
        Write the messages of ``number`` into a new file: ``.pcap``, or ``.txt`` for text.

        Raises:
            OperationError: The name does not do, the file is there already or cannot be made, or there are too many traces.
        """
        path = self._place(name)
        is_text = path.suffix == ".txt"
        self._check_room()
        try:
            make_folder(path.parent)
            file = TraceFile(path, self._clock, self._in_thread, b"" if is_text else HEADER)
        except FileExistsError:
            raise OperationError(f"{path} is there already; give another name, or take it away") from None
        except OSError as error:
            raise OperationError(f"{path} cannot be made: {error.strerror}; see to the space and the permissions there") from None

        def show(seen: Seen) -> None:
            at = self._moment(seen)
            if not file.add(as_text(seen, at).encode("utf-8", "backslashreplace") if is_text else as_packet(seen, at)):
                self.end(trace, "its file has become too big, or cannot be written")

        trace = Trace(number, str(path), None, show, file.close)
        trace.timer = self._clock.callLater(LONGEST, self.end, trace, "it has been on for a day")
        return self._begin(trace), path

    def end(self, trace: Trace, why: str) -> None:
        """Stop one."""
        if trace not in self.running:
            return
        self.running.remove(trace)
        if trace.timer is not None and trace.timer.active():
            trace.timer.cancel()
        trace.finish()
        if not self.running:
            self._messages.unwatch(self._look)
        _log.info("the trace of {number} to {to} ends: {why}", number=trace.number, to=trace.to, why=why)

    def end_of(self, number: str, owner: object) -> list[Trace]:
        """Stop the traces of ``number`` of this owner, and those into files. Gives those that were stopped."""
        ended = [trace for trace in self.running if trace.number == number and trace.owner in (None, owner)]
        for trace in ended:
            self.end(trace, "switched off")
        return ended

    def owner_gone(self, owner: object) -> None:
        """A terminal has been closed: its traces end."""
        for trace in [trace for trace in self.running if trace.owner is owner]:
            self.end(trace, "the terminal was closed")

    def of(self, owner: object) -> list[Trace]:
        """The traces to this terminal."""
        return [trace for trace in self.running if trace.owner is owner]

    def stop(self) -> None:
        """End all."""
        for trace in list(self.running):
            self.end(trace, "the server stops")

    def _begin(self, trace: Trace) -> Trace:
        self._check_room()
        if not self.running:
            self._messages.watch(self._look)
        self.running.append(trace)
        return trace

    def _check_room(self) -> None:
        if len(self.running) >= MOST_TRACES:
            raise OperationError(f"{MOST_TRACES} traces are on already; end one: trace() lists them")

    def _look(self, seen: Seen) -> None:
        for trace in list(self.running):
            try:
                trace.look(seen)
            except Exception:
                _log.failure("the trace of {number} broke", number=trace.number)
                self.end(trace, "it broke")

    def _moment(self, seen: Seen) -> float:
        return self._wall() - (self._clock.seconds() - seen.at)

    def _place(self, name: str) -> Path:
        if not name.endswith((".pcap", ".txt")) or "\0" in name:
            raise OperationError(f"a trace goes into a file that ends in .pcap or .txt, not into {name!r}")
        folder = self._folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise OperationError(f"a trace goes into a file under {self._folder}, not into {name!r}")
        return path


class TraceFile:
    """A file that is written in order, outside the loop."""

    def __init__(self, path: Path, clock: IReactorTime, in_thread: Callable[..., Deferred[Any]], head: bytes) -> None:
        """
        Raises:
            OSError: It cannot be made; ``FileExistsError``: it is there already.
        """
        self._path = path
        self._clock = clock
        self._in_thread = in_thread
        # Who calls whom is nobody's business but the operator's.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self._waiting = [head]
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._writing = False
        self._closing = False
        self._failed = False
        self._write()

    def add(self, data: bytes) -> bool:
        """Write ``data`` soon; False: nothing goes in any more."""
        self._size += len(data)
        if self._failed or self._size > BIGGEST:
            return False
        self._waiting.append(data)
        if self._timer is None and not self._writing:
            self._timer = self._clock.callLater(_GATHER, self._write)
        return True

    def close(self) -> None:
        """Write what waits, then close."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._closing = True
        if not self._writing:
            self._write()

    def _write(self) -> None:
        self._timer = None
        data, self._waiting = b"".join(self._waiting), []
        self._writing = True
        self._in_thread(_write_all, self._descriptor, data).addErrback(self._not_written).addCallback(self._written)

    def _written(self, _: object) -> None:
        self._writing = False
        if self._waiting and not self._failed:
            self._write()
        elif self._closing and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _not_written(self, failure: Failure) -> None:
        self._failed = True
        _log.error("{path} is not written: {why}", path=str(self._path), why=failure.getErrorMessage())


def _write_all(descriptor: int, data: bytes) -> None:
    """Runs in a thread."""
    while data:
        data = data[os.write(descriptor, data) :]
