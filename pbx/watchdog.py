"""
The watchdog: is the loop alive, is it in time, does the exchange still answer?

Three looks at the same question:

- The loop's own lag: how late a timer comes. While it is large, new calls are refused with 503 and Retry-After, so that
  those that are there can be served (`Lag`). Whether datagrams wait too long is seen where they are read (`pbx.net.udp`),
  within milliseconds; it is told here.
- A thread that sees when the loop stands still, and names the place in the code where it does.
- Under systemd (``WatchdogSec=``) an OPTIONS to ourselves: only an answer to it is passed on as a sign of life, so that
  a process that lives and is deaf is started anew.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.protocol import DatagramProtocol

from pbx.log import Log
from pbx.net.address import in_brackets
from pbx.sip import build
from pbx.sip.ids import COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

BEAT = 0.5
"""Seconds between two looks."""
SHED_ABOVE = 0.25
"""Seconds of lag above which new calls are refused."""
SHED_UNTIL = 0.05
"""Seconds of lag below which they are welcome again."""
CALM = 20
"""Beats without a datagram that waited too long, after which that time is over."""
STANDSTILL = 2.0
"""Seconds without a beat after which the place is named."""

log = Log(namespace="pbx.watchdog")


class Lag:
    """
    How late the loop is, and whether to shed load for it.

    Attributes:
        last: The last lag measured, in seconds.
        worst: The worst so far.
        shedding: Whether new calls are being refused.
    """

    def __init__(self, clock: IReactorTime, shed: Callable[[str], None], times_behind: Callable[[], int] = lambda: 0) -> None:
        """
        Args:
            clock: Whose timers are looked at.
            shed: Called with the reason to refuse new calls, and with "" when there is none any more.
            times_behind: How often datagrams have begun to wait too long (`pbx.net.driver.Driver.times_behind`).
        """
        self._clock = clock
        self._shed = shed
        self._times_behind = times_behind
        self._seen_behind = 0
        self._calm = CALM
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self.last = 0.0
        self.worst = 0.0
        self.shedding = False
        self.beats = 0

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + BEAT
        self._call = self._clock.callLater(BEAT, self._beat)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _beat(self) -> None:
        self.beats += 1
        self.last = max(0.0, self._clock.seconds() - self._due)
        self.worst = max(self.worst, self.last)
        if not self.shedding and self.last > SHED_ABOVE:
            self.shedding = True
            log.warn("the loop is {lag} s late: new calls are refused until it is in time again", lag=round(self.last, 2))
            self._shed("overloaded")
        elif self.shedding and self.last < SHED_UNTIL:
            self.shedding = False
            log.info("the loop is in time again")
            self._shed("")
        self._tell_of_the_queue()
        self.start()

    def _tell_of_the_queue(self) -> None:
        """Log the beginning and the end of a time in which calls are refused because more comes than can be done."""
        times = self._times_behind()
        if times != self._seen_behind:
            if self._calm >= CALM:
                log.warn("more comes than can be done: new calls are refused in between")
            self._calm = 0
        elif self._calm < CALM:
            self._calm += 1
            if self._calm == CALM:
                log.info("all calls are taken again")
        self._seen_behind = times


class Standstill(threading.Thread):
    """Watches the loop from outside, and says where it hangs."""

    def __init__(self, beats: Callable[[], int], watched: int) -> None:
        """
        Args:
            beats: Gives a number that grows while the loop lives.
            watched: The id of the loop's thread.
        """
        super().__init__(name="pbx-watchdog", daemon=True)
        self._beats = beats
        self._watched = watched
        self._over = threading.Event()

    def run(self) -> None:
        seen, told = -1, False
        while not self._over.wait(STANDSTILL):
            beats = self._beats()
            if beats != seen:
                seen, told = beats, False
            elif not told:
                told = True
                log.error("the loop stands still, at {place}", place=self.place())

    def place(self) -> str:
        """Where the watched thread is, innermost call last."""
        frame = sys._current_frames().get(self._watched)
        if frame is None:
            return "an unknown place"
        return " > ".join(f"{entry.filename}:{entry.lineno} {entry.name}" for entry in traceback.extract_stack(frame)[-4:])

    def stop(self) -> None:
        """End the thread soon."""
        self._over.set()


class Supervisor:
    """What systemd wants to hear (sd_notify(3)): nothing at all when there is no systemd."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.interval = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
        """Seconds between two signs of life, half of what is allowed; 0: none are wanted."""

    def say(self, text: str) -> None:
        """Send ``text``, such as ``"READY=1"``."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
            try:
                wire.sendto(text.encode(), address)
            except OSError as error:
                log.warn("systemd does not hear us: {why}", why=str(error))


class SelfTest(DatagramProtocol):
    """Sends OPTIONS to the exchange as any stranger would, and notes the answers."""

    def __init__(self, target: tuple[str, int], answered: Callable[[], None]) -> None:
        self._target = target
        self._answered = answered
        self._count = 0

    def ask(self) -> None:
        """Send one."""
        if self.transport is None:
            return
        self._count += 1
        here = self.transport.getHost()
        own, target = f"{in_brackets(here.host)}:{here.port}", f"sip:{in_brackets(self._target[0])}:{self._target[1]}"
        request = build.request(
            "OPTIONS",
            target,
            f"SIP/2.0/UDP {own};rport",
            f"{COOKIE}self{self._count}",
            from_=f"<sip:self@{own}>;tag=self",
            to=f"<{target}>",
            call_id=f"self-{self._count}",
            cseq=self._count,
            max_forwards=1,
        )
        self.transport.write(request.data, self._target)

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        """Any answer is a sign of life."""
        if data.startswith(b"SIP/2.0 "):
            self._answered()


class Watchdog(Service):
    """All three, for as long as the server runs."""

    def __init__(
        self,
        reactor: Any,
        shed: Callable[[str], None],
        sip: tuple[str, int] | None,
        environment: dict[str, str] | None = None,
        *,
        times_behind: Callable[[], int] = lambda: 0,
    ) -> None:
        """``sip``: where our own UDP port can be reached; None: there is none, and systemd hears of the loop alone. See also `Lag`."""
        self.setName("watchdog")
        self._reactor = reactor
        self._sip = sip
        self.lag = Lag(reactor, shed, times_behind)
        self.supervisor = Supervisor(dict(os.environ) if environment is None else environment)
        self._standstill: Standstill | None = None
        self._test: SelfTest | None = None
        self._listening: Any = None
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self.lag.start()
        self._standstill = Standstill(lambda: self.lag.beats, threading.get_ident())
        self._standstill.start()
        if self.supervisor.interval:
            if self._sip is not None:
                self._test = SelfTest(self._sip, self._alive)
                self._listening = self._reactor.listenUDP(0, self._test, interface=self._sip[0])
            self._look()

    def stopService(self) -> Any:
        super().stopService()
        self.supervisor.say("STOPPING=1")
        self.lag.stop()
        if self._standstill is not None:
            self._standstill.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()
        return self._listening.stopListening() if self._listening is not None else None

    def _look(self) -> None:
        if self._test is not None:
            self._test.ask()
        else:
            self._alive()
        self._next = self._reactor.callLater(self.supervisor.interval, self._look)

    def _alive(self) -> None:
        self.supervisor.say("WATCHDOG=1")
