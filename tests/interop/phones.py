"""
Real phones for blocking tests: the same verbs as `pbx.testing.real_phone`, carried out in a process of their own.

Levels are amplitudes of a sent tone of 9000: `LOUD` and more is the tone, `QUIET` and less is not.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from tests.interop.tools import LOOPBACK, PROJECT, environment, need_module, until

__all__ = ["LOUD", "QUIET", "Call", "Phone", "PhoneError", "Phones"]

LOUD = 8000.0  # measured over loopback: 8940 and more of 9000
QUIET = 200.0  # measured: below 25


class PhoneError(AssertionError):
    """What a phone was asked to do failed: ``kind`` is baresip's exception, ``status`` the SIP status if there was one."""

    def __init__(self, kind: str, status: int | None, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.status = status


class Phones:
    """A process with any number of phones on ``address``; a context manager."""

    def __init__(self, address: str = LOOPBACK) -> None:
        need_module("baresip", "baresip-python")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.phone_process", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment(),
        )
        self._last = 0
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {0: queue.SimpleQueue()}
        threading.Thread(target=self._listen, daemon=True).start()
        self._wait(0, 20.0)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._answers.get(answer["id"])
            if waiting is not None:
                waiting.put(answer)
        for waiting in list(self._answers.values()):
            waiting.put({"error": "ProcessEnded", "status": None, "text": "the process of the phones has ended"})

    def _wait(self, number: int, timeout: float) -> Any:
        try:
            answer = self._answers[number].get(timeout=timeout)
        except queue.Empty:
            raise PhoneError("NoAnswer", None, f"nothing from the phones in {timeout:g} s") from None
        finally:
            self._answers.pop(number, None)
        if "error" in answer:
            raise PhoneError(answer["error"], answer["status"], answer["text"])
        return answer["value"]

    def start(self, on: str, do: str, *arguments: Any, **named: Any) -> int:
        """Ask for something and do not wait; `finish` gives what came of it."""
        self._last += 1
        self._answers[self._last] = queue.SimpleQueue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._last, "on": on, "do": do, "with": arguments, "named": named}) + "\n")
        self._process.stdin.flush()
        return self._last

    def finish(self, number: int, timeout: float = 30.0) -> Any:
        """The value of what `start` asked for; raises `PhoneError`."""
        return self._wait(number, timeout)

    def ask(self, on: str, do: str, *arguments: Any, **named: Any) -> Any:
        """`start` and `finish`."""
        return self.finish(self.start(on, do, *arguments, **named))

    def phone(self, user: str, server: str, password: str = "", **named: Any) -> Phone:
        """A phone; the keywords are those of `RealPhones.phone`. Not registered yet."""
        return Phone(self, self.ask("phones", "phone", user, server, password, **named)["ref"], user)

    def contact(self) -> str:
        """ "address:port" where these phones listen; known after the first request."""
        return str(self.ask("phones", "contact"))

    def traced(self, *words: str) -> list[str]:
        """The SIP messages, sent or received by any of these phones, that contain all ``words``."""
        return list(self.ask("phones", "traced", *words))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Phone:
    """One account."""

    def __init__(self, phones: Phones, name: str, user: str) -> None:
        self.user = user
        self._phones, self._name = phones, name

    def register(self) -> None:
        """Register; `PhoneError` with the status when it is refused."""
        self._phones.ask(self._name, "register")

    def unregister(self) -> None:
        """Take the binding back."""
        self._phones.ask(self._name, "unregister")

    def dial(self, number: str, *, video: bool = False, headers: dict[str, str] | None = None) -> Call:
        """Send the INVITE."""
        return Call(self._phones, self._phones.ask(self._name, "dial", number, video=video, headers=headers)["ref"])

    def next_call(self, timeout: float = 5.0) -> Call:
        """The next call that rings here."""
        return Call(self._phones, self._phones.ask(self._name, "next_call", timeout)["ref"])


class Call:
    """One call at one phone."""

    def __init__(self, phones: Phones, name: str) -> None:
        self._phones, self._name = phones, name

    def _ask(self, do: str, *arguments: Any, **named: Any) -> Any:
        return self._phones.ask(self._name, do, *arguments, **named)

    def answer(self, *, video: bool = False) -> None:
        """Accept and wait until the call is up."""
        self._ask("answer", video=video)

    def reject(self) -> None:
        """486 Busy Here."""
        self._ask("reject")

    def established(self, timeout: float = 10.0, *, video: bool = False) -> None:
        """Wait for the answer; `PhoneError` with the status of a refusal."""
        self._ask("established", timeout, video=video)

    def refused(self, timeout: float = 10.0) -> int | None:
        """The status with which the attempt ends; AssertionError when it is answered."""
        try:
            self.established(timeout)
        except PhoneError as error:
            if error.kind in ("NoAnswer", "ProcessEnded", "CallTimeout"):
                raise
            return error.status
        raise AssertionError("the call was answered")

    def hang_up(self) -> None:
        """CANCEL or BYE."""
        self._ask("hang_up")

    def hold(self) -> None:
        """Hold the other side."""
        self._ask("hold")

    def resume(self) -> None:
        """Take it off hold."""
        self._ask("resume")

    def held(self) -> bool:
        """Whether the other side holds this one."""
        return bool(self._ask("held"))

    def free(self) -> bool:
        """Whether it does not."""
        return not self.held()

    def transfer(self, uri: str) -> None:
        """Blind transfer of the other side; `PhoneError` with the kind ``TransferFailed`` when nothing comes of it."""
        self._ask("transfer", uri)

    def transfer_to(self, other: Call) -> None:
        """Attended transfer, to the other side of ``other``, a call of the same phone; as `transfer`."""
        self._ask("transfer_to", {"ref": other._name})

    def send_digits(self, digits: str) -> None:
        """Press keys."""
        self._ask("send_digits", digits)

    def digits(self) -> str:
        """Keys that the other side has pressed."""
        return str(self._ask("digits"))

    def await_digits(self, digits: str, timeout: float = 3.0) -> None:
        """Wait until the other side has pressed just these keys; AssertionError otherwise."""
        until(f"the keys {digits}", lambda: self.digits() == digits, timeout)

    def closed(self, timeout: float = 5.0) -> str:
        """Wait for the end; its reason."""
        return str(self._ask("closed", timeout))

    def call_id(self) -> str:
        """Call-ID of this leg."""
        return str(self._ask("call_id"))

    def heard(self, frequency_hz: float, seconds: float = 1.0) -> float:
        """Amplitude of the frequency in the last ``seconds`` heard."""
        return float(self._ask("heard", frequency_hz, seconds))

    def listen(self, frequency_hz: float, seconds: float = 1.0, timeout: float = 6.0) -> float:
        """Hear anew, until the tone fills ``seconds`` or ``timeout`` is over; the greatest amplitude heard."""
        self._ask("forget")
        best, deadline = 0.0, time.monotonic() + timeout
        while best < LOUD and time.monotonic() < deadline:
            time.sleep(0.1)
            best = max(best, self.heard(frequency_hz, seconds))
        return best

    def silence(self, frequency_hz: float, seconds: float = 1.0) -> float:
        """Let what is under way arrive, hear anew for ``seconds``, return the amplitude in them: for a tone that must *not* come."""
        time.sleep(0.5)
        self._ask("forget")
        time.sleep(seconds)
        return self.heard(frequency_hz, seconds)

    def frames(self) -> int:
        """Video frames decoded so far."""
        return int(self._ask("frames"))

    def stats(self) -> dict[str, Any]:
        """Packets, losses, jitter; complete after the end."""
        return dict(self._ask("stats"))
