"""The store on SQLite: what is told of is on disk, batches, and disks that fail."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from pbx.interfaces import IStore
from pbx.store import SqliteStore, StoreError, sqlite
from pbx.store.database import migrations
from pbx.store.worker import InlineWorker


class StoreCase(SynchronousTestCase):
    """A store on virtual time whose work is done in the same thread."""

    keep_records = 100_000

    def setUp(self) -> None:
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.store = self.make()

    def make(self) -> SqliteStore:
        return SqliteStore(self.folder, self.clock, worker=InlineWorker(self.clock), keep_records=self.keep_records)

    def result(self, deferred: Deferred[Any]) -> Any:
        """What ``deferred`` gives once the batch has gone out."""
        self.clock.advance(sqlite.RECORD_DELAY)
        return self.successResultOf(deferred)

    def failure(self, deferred: Deferred[Any]) -> str:
        self.clock.advance(sqlite.BATCH_DELAY)
        return str(self.failureResultOf(deferred, StoreError).value)

    def again(self) -> None:
        """Another process comes after this one."""
        self.result(self.store.close())
        self.store = self.make()


class KeepingTests(StoreCase):
    """What has been kept is there after a restart."""

    def test_interface(self) -> None:
        """It provides all of `IStore`."""
        self.assertTrue(verifyObject(IStore, self.store))

    def test_bindings(self) -> None:
        """The bindings of an address of record, as they were last saved."""
        first, second = {"contact": "sip:100@192.0.2.1", "expires_at": 12.5}, {"contact": "sip:100@192.0.2.2", "q": None}
        self.store.save_bindings("100", [first])
        self.result(self.store.save_bindings("100", [first, second]))
        self.result(self.store.save_bindings("101", [second]))
        self.again()
        self.assertEqual(self.result(self.store.load_bindings()), {"100": [first, second], "101": [second]})

    def test_no_bindings(self) -> None:
        """An address of record without bindings is forgotten."""
        self.store.save_bindings("100", [{"contact": "x"}])
        self.result(self.store.save_bindings("100", []))
        self.assertEqual(self.result(self.store.load_bindings()), {})

    def test_records(self) -> None:
        """A record is unfinished from the answer to the end of the call."""
        self.result(self.store.begin_record("a", "{}"))
        self.result(self.store.begin_record("b", '{"b":1}'))
        self.result(self.store.finish_record("a", '{"a":2}'))
        self.again()
        self.assertEqual(self.result(self.store.unfinished_records()), [("b", '{"b":1}')])
        self.assertEqual(self.result(self.store.records()), [(1, "a", '{"a":2}')])

    def test_unanswered_call(self) -> None:
        """A call that was never answered has a finished record only."""
        self.result(self.store.finish_record("a", "{}"))
        self.assertEqual(self.result(self.store.unfinished_records()), [])
        self.assertEqual(len(self.result(self.store.records())), 1)

    def test_finished_stays_finished(self) -> None:
        """A late note of the answer does not open a record again."""
        self.result(self.store.finish_record("a", '{"end":1}'))
        self.result(self.store.begin_record("a", "{}"))
        self.assertEqual(self.result(self.store.records()), [(1, "a", '{"end":1}')])

    def test_pages_of_records(self) -> None:
        """Newest first, and on from where the last page ended."""
        for number in range(5):
            self.store.finish_record(f"call {number}", "{}")
        page = self.result(self.store.records(2))
        self.assertEqual([call_id for _, call_id, _ in page], ["call 4", "call 3"])
        self.assertEqual([call_id for _, call_id, _ in self.result(self.store.records(2, page[-1][0]))], ["call 2", "call 1"])

    def test_values(self) -> None:
        """A plugin's own values, apart from those of others."""
        self.store.put("forwarding", "100", '"200"')
        self.store.put("forwarding", "100", '"300"')
        self.store.put("forwarding", "099", '"1"')
        self.store.put("other", "100", "{}")
        self.again()
        self.assertEqual(self.result(self.store.get("forwarding", "100")), '"300"')
        self.assertIsNone(self.result(self.store.get("forwarding", "101")))
        self.assertEqual(self.result(self.store.items("forwarding")), [("099", '"1"'), ("100", '"300"')])
        self.result(self.store.delete("forwarding", "100"))
        self.assertEqual(self.result(self.store.items("forwarding")), [("099", '"1"')])

    def test_in_memory(self) -> None:
        """Without a folder nothing is written anywhere."""
        store = SqliteStore(None, self.clock, worker=InlineWorker(self.clock))
        store.put("a", "b", "c")
        self.assertEqual(self.result(store.get("a", "b")), "c")


class TrimTests(StoreCase):
    """Records are bounded."""

    keep_records = 3

    def test_oldest_go(self) -> None:
        """Beyond ``keep_records`` the oldest finished ones go; a call that goes on keeps its own."""
        self.patch(sqlite, "TRIM_EVERY", 10)
        self.store.begin_record("live", "{}")
        for number in range(10):
            self.store.finish_record(f"call {number}", "{}")
        self.assertEqual([call_id for _, call_id, _ in self.result(self.store.records())], ["call 9", "call 8", "call 7"])
        self.assertEqual(len(self.result(self.store.unfinished_records())), 1)


class BatchTests(StoreCase):
    """Writes go out together, and are told of once they are committed."""

    def test_reads_do_not_wait(self) -> None:
        """What is asked for is given after this turn of the loop, so that a start is not held up; a write that waits goes out with it."""
        bindings = self.store.load_bindings()
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(bindings), {})
        written = self.store.put("a", "1", "one")
        read = self.store.get("a", "1")
        self.clock.advance(0)
        self.assertEqual((self.successResultOf(written), self.successResultOf(read)), (None, "one"))

    def test_waits_for_company(self) -> None:
        """Nothing is told before `BATCH_DELAY` is over; then everything."""
        waiting = [self.store.put("a", str(number), "") for number in range(3)]
        self.clock.advance(sqlite.BATCH_DELAY / 2)
        self.assertNoResult(waiting[0])
        self.assertEqual(self.store.sizes(), {"store_waiting": 3})
        self.clock.advance(sqlite.BATCH_DELAY / 2)
        for one in waiting:
            self.assertIsNone(self.successResultOf(one))
        self.assertEqual(self.store.sizes(), {"store_waiting": 0})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_transaction(self) -> None:
        """When a write is told of, another reader of the file sees it, and those of its batch."""
        self.store.put("a", "1", "")
        second = self.store.put("a", "2", "")
        seen: list[int] = []

        def look(_: None) -> None:
            reader = sqlite3.connect(self.folder / "pbx.sqlite")
            seen.append(reader.execute("SELECT count(*) FROM kept").fetchone()[0])
            reader.close()

        second.addCallback(look)
        self.clock.advance(sqlite.BATCH_DELAY)
        self.assertEqual(seen, [2])

    def test_next_batch_while_one_is_under_way(self) -> None:
        """What comes while a batch is written goes out right after it, without waiting again."""
        worker = LaterWorker()
        store = SqliteStore(self.folder, self.clock, worker=worker)
        first = store.put("a", "1", "")
        worker.work()
        second = store.put("a", "2", "")
        self.assertEqual(store.sizes(), {"store_waiting": 2})
        worker.finish()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertEqual(worker.delays, [sqlite.BATCH_DELAY, 0.0])
        worker.work()
        worker.finish()
        self.successResultOf(second)

    def test_records_wait_longer(self) -> None:
        """The records of a tenth of a second are one batch."""
        first = self.store.begin_record("a", "{}")
        self.clock.advance(sqlite.RECORD_DELAY / 2)
        second = self.store.finish_record("a", "{}")
        self.assertNoResult(first)
        self.clock.advance(sqlite.RECORD_DELAY / 2)
        self.successResultOf(first)
        self.successResultOf(second)

    def test_bindings_do_not_wait_for_records(self) -> None:
        """A phone that registers gets its answer at once although a record has begun to wait; the record is written with it."""
        record = self.store.finish_record("a", "{}")
        saved = self.store.save_bindings("100", [{"contact": "x"}])
        self.clock.advance(0)
        self.successResultOf(saved)
        self.successResultOf(record)

    def test_bindings_of_one_turn(self) -> None:
        """Bindings that are saved and forgotten in one turn of the loop go out as one batch, before anything else happens."""
        worker = LaterWorker()
        store = SqliteStore(self.folder, self.clock, worker=worker)
        saved = store.save_bindings("100", [{"contact": "x"}]), store.save_bindings("101", [])
        self.assertEqual(worker.delays, [])
        self.clock.advance(0)
        self.assertEqual(worker.delays, [0.0])
        worker.work()
        worker.finish()
        for one in saved:
            self.successResultOf(one)
        self.assertEqual((worker.delays, store.sizes()), ([0.0], {"store_waiting": 0}))

    def test_broken_value(self) -> None:
        """A binding that is no JSON fails alone: it is written when its batch is."""
        bad = self.store.save_bindings("100", [{"contact": object()}])
        good = self.store.save_bindings("101", [{"contact": "x"}])
        self.clock.advance(0)
        self.assertIn("the store refuses this", str(self.failureResultOf(bad, StoreError).value))
        self.successResultOf(good)

    def test_next_batch_of_records(self) -> None:
        """Records that come while a batch is written wait again for company; a read among them does not let them."""
        worker = LaterWorker()
        store = SqliteStore(self.folder, self.clock, worker=worker)
        store.finish_record("a", "{}")
        worker.work()
        store.finish_record("b", "{}")
        worker.finish()
        worker.work()
        store.finish_record("c", "{}")
        rows = store.records()
        worker.finish()
        worker.work()
        worker.finish()
        self.assertEqual(worker.delays, [sqlite.RECORD_DELAY, sqlite.RECORD_DELAY, 0.0])
        self.assertEqual(len(self.successResultOf(rows)), 3)

    def test_more_than_one_batch(self) -> None:
        """What is left when a batch is full goes out right after it: records are not kept waiting, however many come."""
        self.patch(sqlite, "LARGEST_BATCH", 3)
        worker = LaterWorker()
        store = SqliteStore(self.folder, self.clock, worker=worker)
        for number in range(7):
            store.finish_record(str(number), "{}")
        for waiting in (4, 1, 0):
            worker.work()
            worker.finish()
            self.assertEqual(store.sizes(), {"store_waiting": waiting})
        self.assertEqual(worker.delays, [sqlite.RECORD_DELAY, 0.0, sqlite.RECORD_DELAY])

    def test_closing_does_not_wait_for_company(self) -> None:
        """At shutdown records are written at once."""
        record = self.store.finish_record("a", "{}")
        closed = self.store.close()
        self.clock.advance(0)
        self.successResultOf(record)
        self.successResultOf(closed)

    def test_one_bad_write(self) -> None:
        """A value that cannot be written fails alone: not those in its batch."""
        good = self.store.put("a", "1", "")
        bad = self.store.put("a", "2", "\udcff")
        after = self.store.put("a", "3", "")
        self.clock.advance(sqlite.BATCH_DELAY)
        self.successResultOf(good)
        self.assertIn("the store refuses this", str(self.failureResultOf(bad, StoreError).value))
        self.successResultOf(after)
        self.assertEqual(len(self.result(self.store.items("a"))), 2)
        self.assertEqual((self.store.failures, self.store.fault), (0, ""))

    def test_cancelled(self) -> None:
        """Who no longer waits for a write does not undo it."""
        gone = self.store.put("a", "1", "")
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.assertEqual(self.result(self.store.items("a")), [("1", "")])

    def test_too_many_waiting(self) -> None:
        """The queue is bounded: beyond, the caller hears that the disk is too slow."""
        self.patch(sqlite, "MAX_WAITING", 2)
        self.store.put("a", "1", "")
        self.store.put("a", "2", "")
        refused = self.store.put("a", "3", "")
        self.assertIn("the disk is too slow", str(self.failureResultOf(refused, StoreError).value))

    def test_closing_writes_what_waits(self) -> None:
        """Nothing that was accepted is lost at shutdown; what comes afterwards is refused."""
        last = self.store.put("a", "1", "")
        closed = self.store.close()
        self.assertIn("shutting down", str(self.failureResultOf(self.store.put("a", "2", ""), StoreError).value))
        self.assertNoResult(closed)
        self.clock.advance(sqlite.BATCH_DELAY)
        self.successResultOf(closed)
        self.successResultOf(last)
        self.store = self.make()
        self.assertEqual(self.result(self.store.items("a")), [("1", "")])


class LaterWorker:
    """Works, and ends, when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Any]] = []
        self.results: list[tuple[Any, Any]] = []
        self.delays: list[float] = []

    def do(self, work: Any, done: Any, after: float = 0.0) -> None:
        self.waiting.append((work, done))
        self.delays.append(after)

    def hurry(self, after: float) -> None:
        """It works when told to."""

    def stop(self) -> None:
        """Nothing is under way."""

    def work(self) -> None:
        work, done = self.waiting.pop(0)
        self.results.append((done, work()))

    def finish(self) -> None:
        done, result = self.results.pop(0)
        done(result)


class TroubleTests(StoreCase):
    """A disk that fails is a state with a counter and a clear sentence."""

    def test_folder_that_cannot_be_made(self) -> None:
        """The state folder is a file: where, why, what to do; and nothing is raised."""
        self.folder.write_text("")
        text = self.failure(self.store.open())
        self.assertIn(f"{self.folder}/pbx.sqlite: ", text)
        self.assertEqual(self.store.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_all_of_a_batch_fail(self) -> None:
        """Every write of a batch that is not on disk fails; the next one that works clears the state."""
        self.folder.write_text("")
        first, second = self.store.put("a", "1", ""), self.store.put("a", "2", "")
        self.clock.advance(sqlite.BATCH_DELAY)
        for one in (first, second):
            self.failureResultOf(one, StoreError)
        self.assertNotEqual(self.store.fault, "")
        self.folder.unlink()
        self.result(self.store.put("a", "3", ""))
        self.assertEqual((self.store.fault, self.store.failures), ("", 1))
        self.assertEqual(self.result(self.store.items("a")), [("3", "")])

    def test_not_a_database(self) -> None:
        """A file of another kind is left as it is."""
        self.folder.mkdir()
        (self.folder / "pbx.sqlite").write_text("something else, quite certainly\n" * 100)
        self.assertIn("file is not a database; the file is no database of ours: move it away", self.failure(self.store.open()))

    def test_newer_schema(self) -> None:
        """A file of a later version is not touched by an older one."""
        self.result(self.store.open())
        self.successResultOf(self.store.close())
        connection = sqlite3.connect(self.folder / "pbx.sqlite")
        connection.execute("PRAGMA user_version = 999")
        connection.close()
        self.store = self.make()
        self.assertIn("was written by a newer version (schema 999", self.failure(self.store.open()))

    def test_disk_full(self) -> None:
        """A full disk: refused with the remedy, and all well once there is room again."""
        self.result(self.store.open())
        connection = self.store._database.open()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        text = self.failure(self.store.put("a", "1", "x" * 100_000))
        self.assertIn("database or disk is full; free some space there", text)
        # The file is opened anew, without the bound.
        self.assertIsNone(self.result(self.store.put("a", "1", "x" * 100_000)))

    def test_for_nobody_else(self) -> None:
        """The folder is 0700 and the file 0600: it holds who called whom."""
        self.result(self.store.open())
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.folder / "pbx.sqlite").stat().st_mode & 0o777, 0o600)

    def test_durable_by_kill(self) -> None:
        """WAL with synchronous NORMAL, on every connection."""
        self.result(self.store.open())
        connection = self.store._database.open()
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone()[0], "wal")
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone()[0], 1)
        self.assertEqual(connection.execute("PRAGMA busy_timeout").fetchone()[0], 5000)


class MigrationTests(SynchronousTestCase):
    """The schema grows by numbered steps."""

    def test_numbered(self) -> None:
        """The steps are numbered from 1 without a gap."""
        numbers = [number for number, _ in migrations()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))


KILLED = """
import os, signal, sys
from pathlib import Path
from twisted.internet import reactor
from pbx.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]), reactor)
store.begin_record("cut", "{}")
store.save_bindings("100", [{"contact": "sip:100@192.0.2.1"}]).addCallback(lambda _: os.kill(os.getpid(), signal.SIGKILL))
reactor.run()
"""


class ThreadTests(TestCase):
    """The real thing: a thread, and a process that is killed."""

    async def test_thread(self) -> None:
        """Many writes at once, from the reactor's thread, and the file is complete after closing."""
        from twisted.internet import reactor

        folder = Path(self.mktemp())
        store = SqliteStore(folder, reactor)
        await store.open()
        writes = [store.put("a", f"{number:04d}", str(number)) for number in range(1000)]
        for write in writes:
            await write
        self.assertEqual(len(await store.items("a")), 1000)
        await store.close()
        reader = sqlite3.connect(folder / "pbx.sqlite")
        self.assertEqual(reader.execute("SELECT count(*) FROM kept").fetchone()[0], 1000)
        reader.close()

    async def test_hurried_thread(self) -> None:
        """The thread that waits for company for a record is woken by a registration, and by the end."""
        from twisted.internet import reactor

        store = SqliteStore(Path(self.mktemp()), reactor)
        await store.open()
        record = store.finish_record("a", "{}")
        await store.save_bindings("100", [{"contact": "x"}])
        self.assertTrue(record.called)
        last = store.finish_record("b", "{}")
        await store.close()
        self.assertTrue(last.called)

    def test_kill(self) -> None:
        """What was told of survives ``kill -9`` at that very moment."""
        folder = Path(self.mktemp())
        root = Path(__file__).resolve().parents[2]
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder)],
            env=os.environ | {"PYTHONPATH": str(root)},
            check=False,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        )
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        reader = sqlite3.connect(folder / "pbx.sqlite")
        self.assertEqual(reader.execute("SELECT aor FROM bindings").fetchall(), [("100",)])
        self.assertEqual(reader.execute("SELECT call_id FROM records WHERE finished = 0").fetchall(), [("cut",)])
        reader.close()
