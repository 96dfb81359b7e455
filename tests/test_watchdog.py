"""The watchdog: lag, standstill, signs of life for a supervisor."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.sip.message import Request, parse_message
from pbx.testing.time import run_for
from pbx.watchdog import BEAT, CALM, Lag, SelfTest, Standstill, Supervisor


class LagTests(SynchronousTestCase):
    """A loop that comes late sheds load until it is in time again."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.lag = Lag(self.clock, self.said.append)
        self.lag.start()
        self.addCleanup(self.lag.stop)

    def test_in_time(self) -> None:
        """A loop in time refuses nobody."""
        run_for(self.clock, 10.0)
        self.assertEqual((self.said, self.lag.worst), ([], 0.0))

    def test_late_and_in_time_again(self) -> None:
        """A second of lag refuses new calls; the next beat in time takes them again."""
        self.clock.advance(BEAT + 1.0)
        self.assertEqual(self.said, ["overloaded"])
        run_for(self.clock, BEAT)
        self.assertEqual(self.said, ["overloaded", ""])
        self.assertAlmostEqual(self.lag.worst, 1.0)

    def test_datagrams_that_wait(self) -> None:
        """That new calls are refused in between is logged once, and once that it is over."""
        said: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "pbx.watchdog":
                said.append(str(event["log_format"]))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        times = [0]
        lag = Lag(self.clock, self.said.append, lambda: times[0])
        lag.start()
        self.addCleanup(lag.stop)
        run_for(self.clock, BEAT * 4)
        self.assertEqual(said, [])
        for times[0] in (1, 1, 5, 9):
            run_for(self.clock, BEAT * 3)
        self.assertEqual(said, ["more comes than can be done: new calls are refused in between"])
        run_for(self.clock, BEAT * CALM)
        self.assertEqual(said[1:], ["all calls are taken again"])
        self.assertEqual(self.said, [])

    def test_nothing_left_after_stop(self) -> None:
        """A watchdog that is stopped leaves no timer."""
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StandstillTests(SynchronousTestCase):
    """Where the loop hangs is named."""

    def test_place(self) -> None:
        """The place is the file, the line and the function of the watched thread."""
        here = threading.get_ident()
        self.assertIn("test_place", Standstill(lambda: 0, here).place())

    def test_no_such_thread(self) -> None:
        """A thread that is gone is nowhere."""
        self.assertEqual(Standstill(lambda: 0, -1).place(), "an unknown place")

    def test_stops(self) -> None:
        """The thread ends when it is told to."""
        thread = Standstill(lambda: 0, threading.get_ident())
        thread.start()
        thread.stop()
        thread.join(5.0)
        self.assertFalse(thread.is_alive())


class SupervisorTests(SynchronousTestCase):
    """sd_notify(3): datagrams to the socket that systemd names."""

    def test_without_systemd(self) -> None:
        """Without it nothing is sent and nothing is wanted."""
        supervisor = Supervisor({})
        supervisor.say("READY=1")
        self.assertEqual(supervisor.interval, 0.0)

    def test_half_of_the_interval(self) -> None:
        """A sign of life is due after half of WatchdogSec."""
        self.assertEqual(Supervisor({"WATCHDOG_USEC": "20000000"}).interval, 10.0)

    def test_ready(self) -> None:
        """READY=1 arrives at the socket."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            path = os.fspath(Path(folder) / "notify")
            wire.bind(path)
            Supervisor({"NOTIFY_SOCKET": path}).say("READY=1")
            self.assertEqual(wire.recv(100), b"READY=1")


class _Transport:
    """Just as much of a UDP transport as the self-test needs."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.host, self.port = "127.0.0.1", 40000

    def getHost(self) -> _Transport:
        return self

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent.append((data, address))


class SelfTestTests(SynchronousTestCase):
    """The OPTIONS to ourselves."""

    def test_is_a_request(self) -> None:
        """What is sent is a whole OPTIONS, to our own port."""
        test = SelfTest(("127.0.0.1", 5060), lambda: None)
        transport = _Transport()
        test.transport = cast("Any", transport)
        test.ask()
        (data, address), request = transport.sent[0], parse_message(transport.sent[0][0])
        assert isinstance(request, Request)
        self.assertEqual((request.method, address), ("OPTIONS", ("127.0.0.1", 5060)))
        self.assertTrue(data.endswith(b"\r\n\r\n"))

    def test_only_an_answer_counts(self) -> None:
        """A response is a sign of life, anything else is none."""
        answers: list[bool] = []
        test = SelfTest(("127.0.0.1", 5060), lambda: answers.append(True))
        test.datagramReceived(b"hello", None)
        test.datagramReceived(b"SIP/2.0 200 OK\r\n\r\n", None)
        self.assertEqual(answers, [True])
