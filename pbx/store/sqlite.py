"""
The store in SQLite: writes queue up, go out as one transaction, and are told of once that is committed.

What is asked for while a batch is under way, or within 100 ms of the first one, forms the
next batch. Call records, for which nobody waits, are given 250 ms, for each batch wakes two
threads; bindings, which a phone waits for and which come in handfuls when there are many
(`pbx.net.register_queue`), only the rest of the loop's turn. Everything goes through that
one queue: a read sees all that was written before it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from pbx.interfaces import IStore
from pbx.json_text import json_text
from pbx.store.database import Database, Statement
from pbx.store.errors import StoreError
from pbx.store.worker import ThreadWorker, Worker

T = TypeVar("T")
_Asked = tuple[Statement, Deferred[Any], float]
"""A statement, who hears of it, and how many seconds it may wait for company."""

BATCH_DELAY = 0.1
"""Seconds that the first statement of a batch waits for company: a batch costs two threads a waking, and a phone does not see them."""
RECORD_DELAY = 0.25
"""The same if it is a call record: only a shutdown waits for it, and a crash may cost so much."""
BINDING_DELAY = 0.0
"""The same if it is a binding: those of one turn of the loop go out together."""
LARGEST_BATCH = 100
"""Statements of one batch at most: when it is written, everybody is told in one turn of the loop, and calls wait so long."""
MAX_WAITING = 100_000
"""Statements waiting at most: beyond, the disk is too slow for the traffic, and callers hear it at once."""
TRIM_EVERY = 500
"""Finished records between two looks at how many there are."""

_TRIM = "DELETE FROM records WHERE finished = 1 AND id <= (SELECT max(id) FROM records) - ?"


class _Json:
    """A value that is written as JSON when its batch is: in the store's thread, many of them one after the other."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __conform__(self, _protocol: object) -> str:
        """Asked by the module sqlite3 as the statement is carried out."""
        return json_text(self._value)


@implementer(IStore)
class SqliteStore:
    """
    Provides `IStore` on a file ``pbx.sqlite`` in the state folder.

    Attributes:
        failures: Batches that could not be written.
        fault: Why the last batch failed, or "" if it did not: the state "disk full" has a name.

    Args:
        folder: The state folder; None: everything is in memory, for tests.
        reactor: Time, and calls from the store's thread.
        worker: Where the work is done; by default a thread.
        keep_records: How many call records are kept.
    """

    log = Logger()

    def __init__(self, folder: Path | None, reactor: Any, *, worker: Worker | None = None, keep_records: int = 100_000) -> None:
        self._database = Database(folder / "pbx.sqlite" if folder is not None else None)
        self._worker: Worker = worker if worker is not None else ThreadWorker(reactor.callFromThread)
        self._reactor = reactor
        self._keep_records = keep_records
        # A deque: the store's thread takes from one end while the reactor's puts in at the other.
        self._waiting: deque[_Asked] = deque()
        self._under_way = 0
        self._busy = False
        self._waits = 0.0  # seconds that the batch to come waits for company
        self._closed = False
        self._untrimmed = 0
        self._idle: list[Deferred[None]] = []
        self.failures = 0
        self.fault = ""

    # -- life ----------------------------------------------------------------------------------------------------

    def open(self) -> Deferred[None]:
        """Open the file and bring it to the present schema; fails with `StoreError`."""
        return self._ask("SELECT 1", (), lambda _: None)

    def close(self) -> Deferred[None]:
        """Write what is waiting, close the file, end the thread. What comes afterwards fails."""
        self._closed = True
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        done.addCallback(lambda _: self._shut())
        if not self._busy:
            self._tell_idle()
        elif self._waits:
            self._hurry(0.0)
        return done

    def _shut(self) -> None:
        self._worker.do(self._database.close, lambda _: None)
        self._worker.stop()

    def sizes(self) -> dict[str, int]:
        """Lengths of the tables."""
        return {"store_waiting": len(self._waiting) + self._under_way}

    # -- bindings ------------------------------------------------------------------------------------------------

    def save_bindings(self, aor: str, bindings: list[dict[str, Any]]) -> Deferred[None]:
        """Replace the bindings of ``aor``; an empty list forgets it."""
        if not bindings:
            return self._tell("DELETE FROM bindings WHERE aor = ?", (aor,), BINDING_DELAY)
        sql = "INSERT INTO bindings VALUES (?, ?) ON CONFLICT (aor) DO UPDATE SET bindings = excluded.bindings"
        return self._tell(sql, (aor, _Json(bindings)), BINDING_DELAY)

    def load_bindings(self) -> Deferred[dict[str, list[dict[str, Any]]]]:
        """All bindings, by address of record."""
        return self._ask("SELECT aor, bindings FROM bindings", (), lambda rows: {aor: json.loads(text) for aor, text in rows})

    # -- call records --------------------------------------------------------------------------------------------

    def begin_record(self, call_id: str, record: str) -> Deferred[None]:
        """Note a call that has been answered. One that is finished stays as it is."""
        sql = (
            "INSERT INTO records (call_id, finished, record) VALUES (?, 0, ?) "
            "ON CONFLICT (call_id) DO UPDATE SET record = excluded.record WHERE finished = 0"
        )
        return self._tell(sql, (call_id, record), RECORD_DELAY)

    def finish_record(self, call_id: str, record: str) -> Deferred[None]:
        """Keep the record of a call that is over."""
        sql = (
            "INSERT INTO records (call_id, finished, record) VALUES (?, 1, ?) "
            "ON CONFLICT (call_id) DO UPDATE SET record = excluded.record, finished = 1"
        )
        done = self._tell(sql, (call_id, record), RECORD_DELAY)
        self._untrimmed += 1
        if self._untrimmed >= TRIM_EVERY:
            self._untrimmed = 0
            # Its failure is the batch's, and that is told once for all of it.
            self._tell(_TRIM, (self._keep_records,), RECORD_DELAY).addErrback(lambda _: None)
        return done

    def unfinished_records(self) -> Deferred[list[tuple[str, str]]]:
        """``(call_id, record)`` of the calls that a crash has cut, oldest first."""
        return self._ask("SELECT call_id, record FROM records WHERE finished = 0 ORDER BY id", (), lambda rows: rows)

    def records(self, limit: int = 100, before: int | None = None) -> Deferred[list[tuple[int, str, str]]]:
        """
        ``(id, call_id, record)`` of finished calls, newest first.

        Args:
            limit: How many at most.
            before: Only those with a smaller id: the last one of the page before.
        """
        sql = "SELECT id, call_id, record FROM records WHERE finished = 1 AND id < ? ORDER BY id DESC LIMIT ?"
        return self._ask(sql, (before if before is not None else 1 << 62, limit), lambda rows: rows)

    # -- the plugins' own ----------------------------------------------------------------------------------------

    def put(self, namespace: str, key: str, value: str) -> Deferred[None]:
        """Keep ``value`` (JSON)."""
        sql = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value"
        return self._tell(sql, (namespace, key, value))

    def get(self, namespace: str, key: str) -> Deferred[str | None]:
        """The value, or None."""
        sql = "SELECT value FROM kept WHERE namespace = ? AND key = ?"
        return self._ask(sql, (namespace, key), lambda rows: rows[0][0] if rows else None)

    def delete(self, namespace: str, key: str) -> Deferred[None]:
        """Forget it; nothing happens if it is not there."""
        return self._tell("DELETE FROM kept WHERE namespace = ? AND key = ?", (namespace, key))

    def items(self, namespace: str) -> Deferred[list[tuple[str, str]]]:
        """``(key, value)`` of all of a namespace, by key."""
        return self._ask("SELECT key, value FROM kept WHERE namespace = ? ORDER BY key", (namespace,), lambda rows: rows)

    # -- the queue -----------------------------------------------------------------------------------------------

    def _tell(self, sql: str, arguments: tuple[Any, ...], delay: float = BATCH_DELAY) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._queue((sql, arguments, False), done, delay)
        return done

    def _ask(self, sql: str, arguments: tuple[Any, ...], shape: Callable[[list[Any]], T]) -> Deferred[T]:
        # Reads are few, and the start waits for three of them one after the other: for them there is no waiting for company.
        rows: Deferred[list[Any]] = Deferred()
        self._queue((sql, arguments, True), rows, 0.0)
        return rows.addCallback(shape)

    def _queue(self, statement: Statement, done: Deferred[Any], delay: float) -> None:
        if self._closed:
            done.errback(StoreError("the store is closed: the exchange is shutting down"))
            return
        if len(self._waiting) >= MAX_WAITING:
            done.errback(StoreError(f"{MAX_WAITING} writes are waiting: the disk is too slow for this traffic"))
            return
        self._waiting.append((statement, done, delay))
        if not self._busy:
            self._busy = True
            if delay:
                self._begin(delay)
            else:  # the store's thread would begin with the first alone, while others are being asked for
                self._waits = 0.0
                self._reactor.callLater(0, self._begin, 0.0)
        elif delay < self._waits:
            self._hurry(delay)

    def _begin(self, delay: float) -> None:
        self._waits = delay
        self._worker.do(self._carry_out, self._ended, delay)

    def _hurry(self, delay: float) -> None:
        self._waits = delay
        self._worker.hurry(delay)

    def _carry_out(self) -> tuple[list[_Asked], list[Any] | Exception]:
        """In the store's thread: what waits by now is one batch."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]
        self._under_way = len(batch)
        try:
            return batch, self._database.carry_out([statement for statement, _, _ in batch])
        except Exception as error:  # it is told in the reactor's thread, to everybody whose write it was
            return batch, error

    def _ended(self, done_with: tuple[list[_Asked], list[Any] | Exception]) -> None:
        batch, outcome = done_with
        self._under_way = 0
        self._busy = bool(self._waiting)
        if self._busy:
            # What waits already has waited while the batch was written, save records: they come all the time.
            is_full = len(self._waiting) >= LARGEST_BATCH  # company enough
            urgent = is_full or self._closed or any(delay < RECORD_DELAY for _, _, delay in self._waiting)
            self._begin(0.0 if urgent else RECORD_DELAY)
        self._note(outcome)
        for index, (_, done, _) in enumerate(batch):
            result = outcome if isinstance(outcome, Exception) else outcome[index]
            if done.called:
                continue  # cancelled meanwhile: the write stands
            if isinstance(result, Exception):
                done.errback(result if isinstance(result, StoreError) else StoreError(f"the store refuses this: {result}"))
            else:
                done.callback(result)
        if not self._busy:
            self._tell_idle()

    def _note(self, outcome: list[Any] | Exception) -> None:
        """Tell the operator once when writing begins to fail, and once when it goes again."""
        if not isinstance(outcome, Exception):
            if self.fault:
                self.log.info("the store can write again, after {failures} failures", failures=self.failures)
            self.fault = ""
            return
        self.failures += 1
        if not self.fault:
            self.log.error("{fault}", fault=str(outcome))
        self.fault = str(outcome)

    def _tell_idle(self) -> None:
        waiting, self._idle = self._idle, []
        for done in waiting:
            done.callback(None)
