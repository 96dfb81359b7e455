"""
Callbacks by the real server: real phones, an outside line, and many at once.

``PBX_INTEROP_SECONDS`` says how long the load lasts (10 by default, 30 and more in a release run), at `RATE` callbacks a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import ClassVar

from pbx.testing.exchange_process import free_port
from tests.interop.application_server import ApplicationServer
from tests.interop.phones import LOUD, QUIET, Call, Phone
from tests.interop.server import CALLEE_ADDRESS, PASSWORD
from tests.interop.sipp import Sipp
from tests.interop.test_kamailio import ACCOUNTS, INSIDE_HZ, OUTSIDE, OUTSIDE_HZ, KamailioTestCase
from tests.interop.test_phones import ALICE_HZ, BOB_HZ, PhoneTestCase
from tests.interop.test_sipp import SippTestCase
from tests.interop.tools import LOOPBACK, PROJECT, environment

RINGBACK_HZ = 450.0
RATE = 20.0
HELD = 1.0
"""Seconds that a callback of the load is joined."""


class CallbackTestCase(PhoneTestCase):
    """Two phones, and an application server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ApplicationServer(self.callback_port)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)


class CallbackPhonesTests(CallbackTestCase):
    """Two phones are called back."""

    def joined(self, id: str) -> tuple[Call, Call]:
        """Both are called and have answered."""
        self.server.request(id, "100", "101", caller1="2001")
        first = self.alice.next_call()
        first.answer()
        second = self.bob.next_call()
        second.answer()
        return first, second

    def test_sound(self) -> None:
        """They hear each other, and nothing of themselves; the time that is told is the time they had, to a second."""
        first, second = self.joined("sound")
        began = time.monotonic()
        self.assert_hear_each_other(first, second)
        time.sleep(max(0.0, began + 4.3 - time.monotonic()))
        self.hang_up(second, first)
        lasted = time.monotonic() - began
        response = self.server.response("sound")
        self.assertEqual((response["result"], response["cause"]), ("0", "16"))
        self.assertLess(abs(int(response["duration"]) - lasted), 1.0, response)
        self.assertEqual(self.server.acks["sound"], "0")

    def test_ringback(self) -> None:
        """User 1 hears ringback while user 2 rings, and none of it any more when he has answered."""
        self.server.request("ringback", "100", "101")
        first = self.alice.next_call()
        first.answer()
        second = self.bob.next_call()
        self.assertGreater(first.listen(RINGBACK_HZ, seconds=0.5), 4000.0)
        second.answer()
        self.assertGreater(first.listen(BOB_HZ), LOUD)
        self.assertLess(first.silence(RINGBACK_HZ), QUIET)
        self.hang_up(first, second)
        self.assertEqual(self.server.response("ringback")["result"], "0")

    def test_cancel(self) -> None:
        """CANCEL while they talk releases both."""
        first, second = self.joined("cancel")
        self.server.send("CANCEL: id=cancel")
        first.closed()
        second.closed()
        self.assertEqual(self.server.response("cancel")["result"], "30")

    def test_busy(self) -> None:
        """User 2 rejects the call: user 1 is released, and the application server is told who it was."""
        self.server.request("busy", "100", "101")
        first = self.alice.next_call()
        first.answer()
        self.bob.next_call().reject()
        first.closed()
        response = self.server.response("busy")
        self.assertEqual((response["result"], response["cause"], response["duration"]), ("20", "17", "0"))

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        """``python -m pbx.callback`` toward the exchange."""
        command = [sys.executable, "-m", "pbx.callback", f"{LOOPBACK}:{self.callback_port}", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=environment())

    def test_client(self) -> None:
        """The client prints ACK and RESPONSE, and ends with the result."""
        client = self.client("100", "101", "--maxduration", "2")
        first = self.alice.next_call(10.0)
        first.answer()
        second = self.bob.next_call()
        second.answer()
        first.closed(5.0)
        second.closed()
        printed, _ = client.communicate(timeout=10.0)
        self.assertEqual(client.returncode, 31, printed)
        self.assertRegex(printed, r"^ACK: id=\w+, result=0\nRESPONSE: id=\w+, result=31, duration=[12], starttime=\w+, cause=16\n$")

    def test_client_interrupted(self) -> None:
        """Ctrl-C at the client cancels the callback."""
        client = self.client("100", "101")
        ringing = self.alice.next_call(10.0)
        client.send_signal(signal.SIGINT)
        ringing.closed()
        printed, _ = client.communicate(timeout=10.0)
        self.assertEqual(client.returncode, 30, printed)


class CodecTests(CallbackTestCase):
    """The phones do not prefer the same codec."""

    def test_settled(self) -> None:
        """User 1 speaks both laws and is called first, user 2 speaks A-law alone: they hear each other."""
        carol, dave = self.speaking("104", ALICE_HZ, "pcmu", "pcma"), self.speaking("105", BOB_HZ, "pcma")
        self.server.request("codecs", "104", "105")
        first = carol.next_call()
        first.answer()
        second = dave.next_call()
        second.answer()
        self.assert_hear_each_other(first, second)
        self.hang_up(first, second)
        self.assertEqual(self.server.response("codecs")["result"], "0")

    def speaking(self, number: str, frequency_hz: float, *codecs: str) -> Phone:
        """A phone that knows just these codecs."""
        phone = self.phones().phone(number, self.exchange.server, PASSWORD, frequency_hz=frequency_hz, codecs=codecs)
        phone.register()
        return phone


class CallbackLineTests(KamailioTestCase):
    """User 2 is outside: called over a line, through a carrier."""

    def test_over_a_line(self) -> None:
        """The application server writes the outside prefix; both hear each other, and the carrier is shown the line's number."""
        line = self.transports[0]
        self.await_registered(line)
        with ApplicationServer(self.callback_port) as server:
            server.request("outside", "100", f"9{OUTSIDE[line]}")
            first = self.inside.next_call()
            first.answer()
            second = self.outside[line].next_call()
            second.answer()
            began = time.monotonic()
            self.assertGreater(first.listen(OUTSIDE_HZ), LOUD)
            self.assertGreater(second.listen(INSIDE_HZ), LOUD)
            [invite, *_] = self.outsiders.traced("RX UDP", "INVITE sip:")
            self.assertIn(f"sip:{ACCOUNTS[line]}@", invite)
            second.hang_up()
            first.closed()
            lasted = time.monotonic() - began
            response = server.response("outside")
        self.assertEqual(response["result"], "0")
        self.assertLess(abs(int(response["duration"]) - lasted), 1.0, response)

    def test_outside_is_busy(self) -> None:
        """User 2 rejects the call: told as busy, across the carrier."""
        line = self.transports[0]
        self.await_registered(line)
        with ApplicationServer(self.callback_port) as server:
            server.request("busy", "100", f"9{OUTSIDE[line]}")
            first = self.inside.next_call()
            first.answer()
            self.outside[line].next_call().reject()
            first.closed()
            self.assertEqual(server.response("busy")["result"], "20")


class CallbackLoadTests(SippTestCase):
    """20 callbacks a second, between two SIPps at static contacts."""

    other_port: ClassVar[int]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """User 2 has an extension of its own."""
        cls.other_port = free_port(CALLEE_ADDRESS)
        cls.more = f'[extensions.302]\ncontact = "sip:302@{CALLEE_ADDRESS}:{cls.other_port}"\npassword = "{PASSWORD}"\n'
        super().prepare(stack)

    def test_load(self) -> None:
        """None is lost, every duration is right to a second, and 64*T1 later every table of calls is empty."""
        calls = int(RATE * float(os.environ.get("PBX_INTEROP_SECONDS", "10")))
        with (
            self.callee("uas") as first,
            Sipp("uas_hangs_up", address=CALLEE_ADDRESS, port=self.other_port, hold=HELD) as second,
            ApplicationServer(self.callback_port) as server,
        ):
            began = time.monotonic()
            for number in range(calls):
                server.listen(began + number / RATE)
                server.request(f"n{number}", "300", "302", maxduration="20")
            for number in range(calls):
                server.response(f"n{number}", 20.0)
            self.assert_all(calls, first.finish(), second.finish())
        self.assertEqual(set(server.acks.values()), {"0"})
        told = {(response["result"], response["duration"]) for response in server.responses.values()}
        self.assertEqual(told, {("0", f"{HELD:.0f}")})
        self.assert_empty()
        self.assert_no_errors()
