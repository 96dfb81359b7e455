"""Call detail records: a JSON line a call, in the file of its day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.world import START, World

DAY = 86400.0


class CallRecordTests(SynchronousTestCase):
    """Two phones, and a folder for the records."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.world = World(f'[plugins]\ndisabled = []\n[cdr]\npath = "{self.folder}"\n')
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        self.bob.answers_at_once = True

    def talk(self, seconds: float) -> None:
        call = self.alice.dial("101")
        self.world.run(seconds)
        call.hang_up()
        self.world.run(1.0)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for file in sorted(self.folder.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]

    def test_one_line_a_call(self) -> None:
        """Caller, called, times, outcome, reason, trace and media statistics of a call stand in one line."""
        self.talk(5.0)
        (record,) = self.lines()
        self.assertEqual(
            (record["caller"], record["called"], record["outcome"], record["reason"]), ("100", "101", "answered", "the caller hung up")
        )
        self.assertEqual(record["duration"], 5.0)
        self.assertEqual([step["verdict"] for step in record["trace"]][-1], "ring")
        self.assertEqual([leg["media"][0]["kind"] for leg in record["legs"]], ["audio", "audio"])

    def test_a_file_a_day(self) -> None:
        """A call that ends after midnight (UTC) stands in the file of the new day."""
        self.talk(1.0)
        self.world.run(DAY)
        self.alice.register()
        self.bob.register()
        self.world.run(1.0)
        self.talk(1.0)
        names = sorted(file.name for file in self.folder.iterdir())
        self.assertEqual(names, ["calls-2027-01-15.jsonl", "calls-2027-01-16.jsonl"])
        self.assertEqual(START, 1_800_000_000.0)

    def test_octets_that_are_no_text(self) -> None:
        """A number with octets that are no UTF-8 is written as JSON can (RFC 8259 §8.2), here and in the store, and holds up no other."""
        self.alice.dial("102", target="sip:1%ff2@192.0.2.1")
        self.world.run(1.0)
        self.talk(1.0)
        self.world.run(1.0)
        self.assertEqual([record["dialled"] for record in self.lines()], ["1\udcff2", "101"])
        rows = self.successResultOf(self.world.store.records())
        self.assertEqual([json.loads(line)["dialled"] for _, _, line in rows], ["101", "1\udcff2"])
        for _, _, line in rows:
            line.encode()
        self.flushLoggedErrors(UnicodeEncodeError)  # of trial's own log; ours escapes them

    def test_folder_not_writable(self) -> None:
        """While the folder cannot be made the lines wait; they are written once it can."""
        self.folder.write_text("in the way")
        self.talk(1.0)
        self.assertEqual(self.lines(), [])
        self.folder.unlink()
        self.world.run(6.0)
        self.assertEqual([record["caller"] for record in self.lines()], ["100"])

    def test_written_at_the_end(self) -> None:
        """What waits when the server stops is written first."""
        call = self.alice.dial("101")
        self.world.run(2.0)
        self.assertEqual(call.state, "talking")
        stopped = self.world.stop()
        self.world.run(10.0)
        self.successResultOf(stopped)
        self.assertEqual([record["reason"] for record in self.lines()], ["the exchange is shutting down"])
