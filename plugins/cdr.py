"""
Call detail records: one JSON line a call, in a file that is rotated every day.

The store keeps each record too (that is what survives a crash); this file is for those who read with other tools.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from pbx.api import Call, ICallObserver, IPbx, Plugin, Record, Settings, setting

_GATHER = 0.5
"""Seconds that lines are gathered before they are written, outside the loop."""
_MOST_WAITING = 10_000
"""Lines kept while the disk is full; then the oldest go, counted."""


class CdrSettings(Settings):
    """``[cdr]``: the file of call records."""

    path: str = setting("", "folder of the files calls-YYYY-MM-DD.jsonl (UTC); empty: the folder cdr in the state folder")


@implementer(ICallObserver)
class CallRecords(Service):
    """Writes the records as they come, in order, never in the loop."""

    def __init__(self, settings: CdrSettings, pbx: IPbx) -> None:
        self._pbx = pbx
        self._folder = Path(settings.path) if settings.path else pbx.state_folder / "cdr"
        self._waiting: list[tuple[float, str]] = []
        self._timer: IDelayedCall | None = None
        self._writing = False
        self.lost = 0
        """Lines given up because the disk took none for too long."""

    def call_begun(self, call: Call) -> None:
        """Nothing is written yet."""

    def call_answered(self, call: Call) -> None:
        """Nothing is written yet."""

    def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
        """It is in the trace."""

    def call_ended(self, call: Call, record: Record) -> None:
        self._waiting.append((record.ended_at, record.line()))
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[0]
            self.lost += 1
        self._write_soon()

    def stopService(self) -> object:
        """Write what waits, then stop."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        lines, self._waiting = self._waiting, []
        return self._pbx.in_thread(_append, self._folder, lines) if lines else None

    def _write_soon(self) -> None:
        if self._timer is None and not self._writing:
            self._timer = self._pbx.clock.callLater(_GATHER, self._write)

    def _write(self) -> None:
        self._timer = None
        lines, self._waiting = self._waiting, []
        self._writing = True
        done = self._pbx.in_thread(_append, self._folder, lines)
        done.addCallbacks(self._written, self._not_written, errbackArgs=(lines,))

    def _written(self, _: object) -> None:
        self._writing = False
        if self._waiting:
            self._write_soon()

    def _not_written(self, failure: Failure, lines: list[tuple[float, str]]) -> None:
        self._writing = False
        self._pbx.log.error("call records are not written: {why}; {count} wait", why=failure.getErrorMessage(), count=len(lines))
        self._waiting[:0] = lines
        if self.running:
            self._timer = self._pbx.clock.callLater(5.0, self._write)


def _append(folder: Path, lines: list[tuple[float, str]]) -> None:
    """Append each line to the file of its day; runs in a thread."""
    folder.mkdir(parents=True, exist_ok=True)
    days: dict[str, list[str]] = {}
    for ended_at, line in lines:
        days.setdefault(datetime.fromtimestamp(ended_at, UTC).strftime("%Y-%m-%d"), []).append(line)
    for day, texts in days.items():
        # Who calls whom is nobody else's business.
        with open(folder / f"calls-{day}.jsonl", "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("\n".join(texts) + "\n")


plugin = Plugin("cdr", CdrSettings, CallRecords)
