"""
The log: one event a line, control characters escaped, credentials blanked, in text or JSON.

Code logs with a `Log`, a twisted.logger ``Logger`` whose calls below the level cost next to nothing;
the lines of one call are bound to its id (`call_log`). Observers made here write the lines down.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, Protocol, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

LEVELS = ("debug", "info", "warn", "error", "critical")
_RANK = {getattr(LogLevel, name): rank for rank, name in enumerate(LEVELS)}

# C0, DEL, C1, line and paragraph separators, direction overrides, and the lone surrogates that stand for octets that are no
# UTF-8: nothing that a terminal obeys, and nothing that makes two lines of one.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_CREDENTIALS = re.compile(
    r"""(?ix)
      (?P<name> \b (?: response | password | passwd | secret | auth_pass | ha1 | token ) \s* [=:] \s* )
          (?: "(?:[^"\\]|\\.)*" | '[^']*' | [^\s,;&'"]+ )
    | (?P<basic> \b (?:proxy-)? authorization \s* : \s* (?:basic|bearer) \s+ ) [^\s,;]+
    | (?P<inline> \b inline: ) [A-Za-z0-9+/=]+
    """
)
_SUSPECT = ("response", "passw", "secret", "auth", "ha1", "token", "inline:")
"""Far cheaper to look for than the pattern above, and nearly every line has none of these."""


_WARN = _RANK[LogLevel.warn]
_PORTS = re.compile(r"\(UDP Port \d+ Closed\)|_Exchange starting on \d+")
"""What Twisted says of the socket of each question to a DNS server."""

GATHER = 0.25
"""Seconds that a line waits for others, once there is a reactor to wait with."""

Later = Callable[[float, Callable[[], None]], object]
"""``reactor.callLater``."""


class _Threshold:
    """The least important level that is logged, for the whole process: a ``Logger`` is made at import, long before it is known."""

    def __init__(self) -> None:
        self.rank = _RANK[LogLevel.info]


_threshold = _Threshold()


def set_level(name: str) -> None:
    """Log ``name`` ("debug", "info", "warn", "error", "critical") and what is more important; also while running."""
    _threshold.rank = LEVELS.index(name)


def is_debug() -> bool:
    """Whether debug lines are written: for callers whose arguments are dear."""
    return _threshold.rank == 0


class Log(Logger):
    """A ``Logger`` that drops what is below the level before anything is made of it, and costs half of one for the rest."""

    call_id = ""
    """The call that all its events are bound to; "": none."""

    def emit(self, level: Any, format: str | None = None, **fields: object) -> None:
        if _RANK[level] < _threshold.rank:
            return
        if self.call_id:
            fields.setdefault("call_id", self.call_id)
        # The event of twisted.logger, made without its look through all levels for this one.
        fields["log_logger"] = self
        fields["log_level"] = level
        fields["log_namespace"] = self.namespace
        fields["log_source"] = self.source
        fields["log_format"] = format
        fields["log_time"] = time()
        self.observer(fields)


class CallLog(Log):
    """The log of one call: each event carries its id."""

    def __init__(self, call_id: str, namespace: str = "pbx.call", observer: ILogObserver | None = None) -> None:
        # What Logger.__init__ does, without its search for a namespace in the caller's frame: this is made for every call.
        self.namespace = namespace
        self.source = None
        self.observer = globalLogPublisher if observer is None else observer
        self.call_id = call_id


def call_log(call_id: str, namespace: str = "pbx.call") -> CallLog:
    """A log bound to the call ``call_id``."""
    return CallLog(call_id, namespace)


def escaped(text: str) -> str:
    """``text`` without anything that a terminal would obey or that would begin another line."""
    if text.isprintable():  # nearly always, and four times as quick as the pattern
        return text
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0A:
        return "\\n"
    if code == 0x0D:
        return "\\r"
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the octet as it came
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def blanked(text: str) -> str:
    """``text`` with digest responses, passwords, tokens and SRTP keys taken out."""
    small = text.lower()
    for word in _SUSPECT:
        if word in small:
            break
    else:
        return text
    return _CREDENTIALS.sub(lambda match: (match["name"] or match["basic"] or match["inline"]) + "***", text)


def text_line(event: LogEvent, words: str | None = None) -> str:
    """
    An event as text, such as ``2026-01-31T08:00:00.000+00:00 [pbx.net#warn] words``.

    One line; the traceback of a failure follows on lines that all begin with a bar, so that none can pass for an event.
    ``words``: those of the event, if they have been made already.
    """
    call_id = event.get("call_id")
    bound = f"[{call_id}] " if call_id else ""
    level = event.get("log_level")
    if words is None:
        words = _words(event)
    head = f"{_moment(event)} [{event.get('log_namespace', '-')}#{level.name if level else '-'}] {bound}"
    line = escaped(blanked(head + words)) + "\n"
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        line += "".join(f"    | {escaped(blanked(part))}\n" for part in _traceback(failure).splitlines())
    return line


def json_line(event: LogEvent, words: str | None = None) -> str:
    """An event as one JSON object on one line; ``words`` as in `text_line`."""
    level = event.get("log_level")
    shown: dict[str, Any] = {
        "time": _moment(event),
        "level": level.name if level else None,
        "namespace": event.get("log_namespace"),
        "text": escaped(blanked(_words(event) if words is None else words)),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in shown and isinstance(value, str | int | float | bool | None):
            shown[key] = escaped(blanked(f"{key}={value}"))[len(key) + 1 :] if isinstance(value, str) else value
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        shown["traceback"] = blanked(_traceback(failure))
    # ASCII only: JSON's own escapes then cover all that `escaped` knows.
    return json.dumps(shown, separators=(",", ":")) + "\n"


def _moment(event: LogEvent) -> str:
    at = event.get("log_time", 0.0)
    second = int(at)
    before, after = _second(second)
    return f"{before}.{int((at - second) * 1000):03d}{after}"


@lru_cache(maxsize=4)
def _second(second: int) -> tuple[str, str]:
    """What stands before and after the milliseconds: the same for all lines of one second, and dear to make."""
    text = datetime.fromtimestamp(second, UTC).astimezone().isoformat()
    return text[:19], text[19:]


def _formatted(event: LogEvent) -> str:
    """The words of an event; nearly all are plain names in braces, which Python itself puts in at a tenth of the price."""
    words = event.get("log_format")
    if type(words) is str and "." not in words and "(" not in words and "[" not in words:
        try:
            return words.format_map(event)
        except Exception:  # whatever is wrong with it, Twisted's way of saying so is the one people know
            return formatEvent(event)
    return formatEvent(event)


def _words(event: LogEvent) -> str:
    words = _formatted(event)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        reason = f"{failure.type.__name__ if failure.type is not None else 'failure'}: {failure.getErrorMessage()}"
        return f"{words}: {reason}" if words else reason
    return words


def _traceback(failure: Failure) -> str:
    try:
        return failure.getTraceback()
    except Exception as error:  # an exception whose own __str__ breaks must not take the log with it
        return f"(no traceback: {type(error).__name__})"


class _Out(Protocol):
    """Where lines go."""

    def write(self, text: str) -> object: ...
    def flush(self) -> object: ...


@implementer(ILogObserver)
class LineObserver:
    """
    Writes events, as lines, to ``out``.

    A full disk is a state and not a crash: `lost` counts the lines that could not be written.
    """

    def __init__(self, out: _Out, line: Callable[[LogEvent, str], str]) -> None:
        self.out = out
        self.lost = 0
        self._line = line
        self._waiting: list[tuple[LogEvent, str]] = []
        self._later: Later | None = None

    def gather(self, later: Later | None) -> None:
        """
        From now on let events wait for company, up to `GATHER` seconds: a line by itself costs a system call, and lines
        are made at half the price one after the other. Only the words are made at once, as what they are about may change.

        A warning, and what is worse, goes out at once, with all that waits. None: every line goes out at once again.
        """
        self._later = later
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._write("".join([self._line(event, words) for event, words in waiting]), len(waiting))

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is not None and _RANK[level] < _threshold.rank:
            return
        if event.get("log_namespace") == "log_legacy" and not is_debug() and _PORTS.fullmatch(str(event.get("log_text", ""))):
            return
        self._waiting.append((event, _words(event)))
        if self._later is None or level is None or _RANK[level] >= _WARN:
            self.flush()
        elif len(self._waiting) == 1:
            self._later(GATHER, self.flush)

    def _write(self, text: str, lines: int) -> None:
        try:
            self.out.write(text)
            self.out.flush()
        except (OSError, ValueError):  # ValueError: the file was closed
            self.lost += lines


class LogPath:
    """A log file that is opened again when it has been moved or removed, as logrotate does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._inode = 0

    def write(self, text: str) -> None:
        file = self._file
        if file is None or self._moved():
            file = self._open()
        file.write(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _moved(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _open(self) -> TextIO:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Who called whom is nobody's business but the operator's group.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
        self._inode = os.fstat(descriptor).st_ino
        return self._file


class _Bytes:
    """Twisted's rotating ``LogFile``, which takes octets."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        self._file.flush()


class LogSettingsLike(Protocol):
    """What is needed of ``[log]``."""

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def level(self) -> str: ...


def observer(settings: LogSettingsLike, out: _Out | None = None) -> LineObserver:
    """The observer that ``[log]`` describes; ``out`` is where it writes when ``path`` is empty."""
    set_level(settings.level)
    if settings.path:
        out = LogPath(Path(settings.path).absolute())
    return LineObserver(out if out is not None else sys.stdout, json_line if settings.format == "json" else text_line)


def twistd_observer(settings: LogSettingsLike, logfile: str | None, on_screen: bool) -> Callable[[], LineObserver]:
    """What twistd calls to get its observer: the same places as its own, with our lines."""

    def make() -> LineObserver:
        rotating: Any = LogFile  # untyped in Twisted
        if settings.path or logfile == "-" or (on_screen and not logfile):
            return observer(settings)
        return observer(settings, _Bytes(rotating.fromFullPath(logfile or "twistd.log", defaultMode=0o640)))

    return make
