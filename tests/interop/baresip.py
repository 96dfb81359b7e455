"""
Debian's baresip 1.0 without a screen or a sound card: a tone from a WAV file goes out, what comes in is written to a WAV file.

It is driven by JSON in netstrings over TCP (its module ctrl_tcp). One folder and one process a phone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pbx.testing.exchange_process import free_port
from pbx.testing.tone import ToneSource, level
from tests.interop.tools import LOOPBACK, need, until

__all__ = ["Baresip"]

_RATE_HZ = 8000
_T = TypeVar("_T")
_MODULES = ("/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules", "/usr/local/lib/baresip/modules")


def _modules() -> Path:
    for folder in map(Path, _MODULES):
        if (folder / "g711.so").exists():
            return folder
    need("baresip-modules-of-g711", "baresip-core")  # names the package and skips or fails as wanted
    raise AssertionError("not reached")


class Baresip:
    """One phone, registered when ``password`` is given; a context manager."""

    def __init__(self, user: str, server: str, password: str, *, frequency_hz: float, answers: bool = False) -> None:
        program = need("baresip", "baresip-core")
        self._folder = tempfile.TemporaryDirectory(prefix="pbx-baresip-")
        self.path = Path(self._folder.name)
        self._control_port = free_port()
        tone = self.path / "tone.wav"
        with wave.open(str(tone), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_RATE_HZ)
            file.writeframes(ToneSource(frequency_hz).pcm(60 * _RATE_HZ, _RATE_HZ))
        mode = "auto" if answers else "manual"
        (self.path / "accounts").write_text(f"<sip:{user}@{server}>;auth_pass={password};regint=60;answermode={mode}\n")
        lines = (
            f"sip_listen {LOOPBACK}:{free_port(room=2)}",  # it takes the next port for TLS as well
            f"net_interface {LOOPBACK}",
            f"audio_source aufile,{tone}",
            "audio_player aubridge,nil",  # something must pull the receive side, or nothing is decoded
            f"audio_alert aufile,{tone}",
            f"module_path {_modules()}",
            *(f"module {name}.so" for name in ("g711", "aufile", "aubridge", "sndfile")),
            f"snd_path {self.path}",
            *(f"module_app {name}.so" for name in ("account", "menu", "ctrl_tcp")),
            f"ctrl_tcp_listen {LOOPBACK}:{self._control_port}",
        )
        (self.path / "config").write_text("".join(line + "\n" for line in lines))
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._log = (self.path / "log").open("wb")
        self._process = subprocess.Popen(
            [program, "-f", str(self.path)], cwd=self.path, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._control = until("baresip's control port", self._connected, 10.0)
        self._control.setblocking(False)

    def _connected(self) -> socket.socket | None:
        try:
            return socket.create_connection((LOOPBACK, self._control_port), 1.0)
        except OSError:
            return None

    def command(self, command: str, parameters: str = "") -> None:
        """Send a command; what comes of it are events."""
        text = json.dumps({"command": command, "params": parameters}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def _listen(self) -> None:
        while True:
            try:
                piece = self._control.recv(65536)
            except BlockingIOError:
                break
            if not piece:
                break
            self._buffer += piece
        while True:
            length, colon, rest = self._buffer.partition(b":")
            if not colon or len(rest) <= int(length):
                return
            event = json.loads(rest[: int(length)])
            self._buffer = rest[int(length) + 1 :]
            if event.get("event"):
                self.events.append(event)

    def await_event(self, kind: str, timeout: float = 10.0) -> dict[str, Any]:
        """The first event of that type, for example CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED; its "param" says more."""

        def seen() -> dict[str, Any] | None:
            self._listen()
            return next((event for event in self.events if event.get("type") == kind), None)

        return self._until(f"{kind} at baresip", seen, timeout)

    def await_registered(self, timeout: float = 10.0) -> None:
        """Wait for the 200 to its REGISTER; its event may come before the control port is connected, so the log is asked."""
        self._until("baresip's REGISTER to be accepted", lambda: "200 OK" in self.log(), timeout)

    def _until(self, what: str, probe: Callable[[], _T | None], timeout: float) -> _T:
        try:
            return until(what, probe, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def log(self) -> str:
        """What it printed."""
        self._log.flush()
        return (self.path / "log").read_text(errors="replace")[-3000:]

    def heard(self, frequency_hz: float, skip: float = 0.5) -> float:
        """Amplitude of the frequency (9000 is all of it) in the recording, without its first ``skip`` seconds; after the call only."""
        [recording] = self.path.glob("dump-*-dec.wav")
        with wave.open(str(recording), "rb") as file:
            rate, channels = file.getframerate(), file.getnchannels()
            pcm = file.readframes(file.getnframes())
        pcm = pcm[int(skip * rate) * 2 * channels :]
        window = rate * 2 * channels
        # The best second: a recording ends with the silence between the last packet and the hang-up.
        pieces = (pcm[at : at + window] for at in range(0, len(pcm) - window + 1, window))
        return max((level(piece, frequency_hz, rate, channels) for piece in pieces), default=0.0)

    def close(self) -> None:
        """Quit, by its own command if it listens."""
        try:
            self.command("quit")
            self._process.wait(3.0)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._control.close()
        self._log.close()
        time.sleep(0.05)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
