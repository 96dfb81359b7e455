"""The log: one event a line, nothing that a terminal would obey, no secrets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pbx.config import LogSettings
from pbx.log import (
    GATHER,
    CallLog,
    LineObserver,
    Log,
    LogPath,
    blanked,
    call_log,
    escaped,
    is_debug,
    json_line,
    observer,
    set_level,
    text_line,
    twistd_observer,
)


class LogCase(SynchronousTestCase):
    """Collects what is logged."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        self.addCleanup(set_level, "info")

    @property
    def collect(self) -> Any:
        return self.events.append

    def log(self) -> Log:
        return Log("pbx.example", observer=self.collect)

    def event(self, words: str = "words", **fields: Any) -> LogEvent:
        return {"log_format": words, "log_level": LogLevel.info, "log_namespace": "pbx.example", "log_time": 0.0, **fields}


class LevelTests(LogCase):
    """What is below the level costs next to nothing."""

    def test_dropped(self) -> None:
        """Debug lines are not even made; what is as important as the level is."""
        self.log().debug("no")
        self.log().info("yes")
        self.assertEqual([event["log_format"] for event in self.events], ["yes"])
        self.assertFalse(is_debug())

    def test_changed_while_running(self) -> None:
        """The level counts for logs that were made before it was set."""
        log, call = self.log(), CallLog("id@alice", observer=self.collect)
        set_level("debug")
        log.debug("one")
        call.debug("two")
        set_level("error")
        log.warn("three")
        call.warn("four")
        self.assertEqual([event["log_format"] for event in self.events], ["one", "two"])

    def test_unknown(self) -> None:
        """Only the names of the configuration are levels."""
        self.assertRaises(ValueError, set_level, "loud")

    def test_others_events(self) -> None:
        """Twisted's own events are held to the level as well."""
        out = io.StringIO()
        writer = LineObserver(out, text_line)
        writer(self.event(log_level=LogLevel.debug))
        self.assertEqual(out.getvalue(), "")

    def test_sockets_of_questions(self) -> None:
        """That each question to a DNS server opens a socket and closes it is told with level debug alone."""
        for text in ("(UDP Port 34786 Closed)", "_Exchange starting on 34786"):
            event = self.event("{log_text}", log_text=text, log_namespace="log_legacy")
            for level, expected in (("info", False), ("debug", True)):
                set_level(level)
                out = io.StringIO()
                LineObserver(out, text_line)(event)
                self.assertEqual(text in out.getvalue(), expected)


class LineTests(LogCase):
    """Events as lines."""

    def test_text(self) -> None:
        """Time with zone, namespace, level, call, words."""
        line = text_line(self.event("diverted to {target}", target="201", call_id="id@alice"))
        self.assertRegex(line, r"^19\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000[+-]\d\d:\d\d \[pbx\.example#info\] \[id@alice\] diverted to 201\n$")

    def test_bound_to_a_call(self) -> None:
        """Each line of a call's log has its id."""
        CallLog("id@alice", observer=self.collect).warn("words")
        self.assertEqual(self.events[0]["call_id"], "id@alice")
        self.assertEqual(call_log("x").call_id, "x")

    def test_one_line(self) -> None:
        """A user agent with line breaks, a terminal's escapes and a turned direction stays one plain line."""
        line = text_line(self.event("from {agent}", agent="a\r\nb\x1b[31m\u202ec\u2028d\udcff\x9b"))
        self.assertEqual(line.count("\n"), 1)
        self.assertIn("from a\\r\\nb\\x1b[31m\\u202ec\\u2028d\\xff\\x9b\n", line)
        line.encode("utf-8")

    def test_failure(self) -> None:
        """The reason is in the line; the traceback's lines cannot pass for events."""
        line = text_line(self.event("call {n} broke", n=1, log_failure=self.failure("first\n2026-01-01T00:00 [pbx#info] forged")))
        first, *rest = line.splitlines()
        self.assertIn("call 1 broke: ValueError: first\\n2026", first)
        self.assertGreater(len(rest), 1)
        self.assertEqual([part for part in rest if not part.startswith("    | ")], [])

    def failure(self, text: str) -> Failure:
        try:
            raise ValueError(text)
        except ValueError:
            return Failure()

    def test_json(self) -> None:
        """One object a line, with the fields that are plain values."""
        line = json_line(self.event("to {target}", target="201\n", call_id="x", count=3, thing=object(), log_failure=self.failure("why")))
        self.assertEqual(line.count("\n"), 1)
        shown = json.loads(line)
        self.assertEqual(
            (shown["text"], shown["target"], shown["call_id"], shown["count"]), ("to 201\\n: ValueError: why", "201\\n", "x", 3)
        )
        self.assertEqual((shown["level"], shown["namespace"]), ("info", "pbx.example"))
        self.assertIn("ValueError: why", shown["traceback"])
        self.assertNotIn("thing", shown)

    def test_json_fields_of_the_same_name(self) -> None:
        """A field cannot take the place of the event's own."""
        self.assertEqual(json.loads(json_line(self.event(level="forged")))["level"], "info")

    def test_events_of_the_old_kind(self) -> None:
        """An event without level or namespace is written too."""
        self.assertIn("[-#-] \n", text_line({"log_time": 0.0}))
        self.assertIsNone(json.loads(json_line({}))["level"])


class GatherTests(LogCase):
    """Lines wait for company once there is a reactor."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.out = io.StringIO()
        self.writer = LineObserver(self.out, text_line)
        self.writer.gather(self.clock.callLater)

    def lines(self) -> int:
        return self.out.getvalue().count("\n")

    def test_wait(self) -> None:
        """Lines of a quarter of a second are written together, in order."""
        self.writer(self.event("one"))
        self.writer(self.event("two"))
        self.assertEqual(self.lines(), 0)
        self.clock.advance(GATHER)
        self.assertRegex(self.out.getvalue(), r"(?s)one.*two")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_words_of_the_moment(self) -> None:
        """What a line tells of something is how it was when it happened, and not when the line was written."""
        for line in (text_line, json_line):
            writer, things = LineObserver(self.out, line), ["one"]
            writer.gather(self.clock.callLater)
            writer(self.event("there is {things}", things=things))
            things.append("two")
            self.clock.advance(GATHER)
        self.assertEqual(self.out.getvalue().count("there is ['one']"), 2)
        self.assertNotIn("two", self.out.getvalue())

    def test_warning_at_once(self) -> None:
        """A warning does not wait, and does not overtake either."""
        self.writer(self.event("one"))
        self.writer(self.event("two", log_level=LogLevel.warn))
        self.assertRegex(self.out.getvalue(), r"(?s)one.*two")

    def test_end(self) -> None:
        """At the end all that waits is written, and what comes then goes out at once."""
        self.writer(self.event("one"))
        self.writer.gather(None)
        self.assertEqual(self.lines(), 1)
        self.writer(self.event("two"))
        self.assertEqual(self.lines(), 2)

    def test_odd_words(self) -> None:
        """A format that Python itself cannot fill in is left to Twisted: the log says so, and nothing raises."""
        for words in ("{missing}", "{one.two}", "{", "{one()}"):
            self.writer(self.event(words, one=len, log_level=LogLevel.warn))
        self.assertEqual(self.lines(), 4)


class BlankTests(SynchronousTestCase):
    """Credentials do not reach the log."""

    def test_digest(self) -> None:
        """The response of a digest is taken out, everything else stays readable."""
        header = 'Authorization: Digest username="100", realm="pbx", nonce="n", uri="sip:pbx", response="0123456789abcdef", algorithm=MD5'
        self.assertEqual(blanked(header), header.replace('"0123456789abcdef"', "***"))
        self.assertEqual(blanked("Proxy-" + header), "Proxy-" + header.replace('"0123456789abcdef"', "***"))

    def test_others(self) -> None:
        """Passwords, bearer tokens, SRTP keys."""
        for text, left in (
            ("password=hush", "password=***"),
            ("password: 'hush hush', x=1", "password: ***, x=1"),
            ("secret = hush;x", "secret = ***;x"),
            ("Authorization: Basic aGFsbG8=", "Authorization: Basic ***"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwg|2^20", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20"),
        ):
            self.assertEqual(blanked(text), left)

    def test_harmless(self) -> None:
        """Words that only look like it stay."""
        for text in ("486 response to INVITE", "auth-fail ip=192.0.2.1 user=100 why=wrong", "a line"):
            self.assertEqual(blanked(text), text)

    def test_within_an_event(self) -> None:
        """A whole message in a debug line is blanked, also in JSON."""
        event: LogEvent = {"log_format": "{data}", "data": 'Authorization: Digest response="abc"', "log_time": 0.0}
        self.assertNotIn("abc", text_line(event))
        self.assertNotIn("abc", json_line(event))
        self.assertNotIn("hush", json_line({"log_format": "x", "password": "hush", "log_time": 0.0}))

    def test_escaped_leaves_text_alone(self) -> None:
        """Letters of all scripts are no control characters."""
        self.assertEqual(escaped("Grüße, 你好"), "Grüße, 你好")


class FileTests(LogCase):
    """Where lines go."""

    def test_file(self) -> None:
        """``[log] path`` names the file; its folder is made, and others cannot read it."""
        path = Path(self.mktemp()) / "log" / "pbx.log"
        write = observer(LogSettings(path=str(path), format="json"))
        write(self.event("hello"))
        self.assertEqual(json.loads(path.read_text())["text"], "hello")
        self.assertEqual(path.stat().st_mode & 0o007, 0)

    def test_moved(self) -> None:
        """After logrotate has moved the file, a new one is begun."""
        path = Path(self.mktemp())
        write = observer(LogSettings(path=str(path)))
        write(self.event("one"))
        path.rename(path.with_name("old"))
        write(self.event("two"))
        self.assertIn("two", path.read_text())
        self.assertIn("one", path.with_name("old").read_text())

    def test_full_disk(self) -> None:
        """Lines that cannot be written are counted; nothing is raised."""
        write = observer(LogSettings(path="/dev/full"))
        write(self.event("lost"))
        self.assertEqual(write.lost, 1)

    def test_closed(self) -> None:
        """A closed file likewise."""
        out = io.StringIO()
        out.close()
        write = LineObserver(out, text_line)
        write(self.event("lost"))
        self.assertEqual(write.lost, 1)

    def test_closing(self) -> None:
        """A file may be closed twice, and opens again when written to."""
        path = Path(self.mktemp())
        file = LogPath(path)
        file.flush()
        file.write("a\n")
        file.close()
        file.close()
        file.write("b\n")
        file.close()
        self.assertEqual(path.read_text(), "a\nb\n")

    def test_screen(self) -> None:
        """With ``-n`` and no file the lines go to the screen."""
        out = io.StringIO()
        self.patch(__import__("sys"), "stdout", out)
        twistd_observer(LogSettings(), None, on_screen=True)()(self.event("hello"))
        self.assertIn("hello", out.getvalue())

    def test_twistd_log(self) -> None:
        """A daemon's lines go where twistd's would: the file of ``--logfile``."""
        path = Path(self.mktemp())
        twistd_observer(LogSettings(), str(path), on_screen=False)()(self.event("hello"))
        self.assertIn("hello", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o007, 0)
