"""
SIPp through the exchange: message flows with exact expectations, and load.

``PBX_INTEROP_SECONDS`` says how long the load lasts (10 by default, 60 in a release run), at `RATE` calls a second.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from tests.interop.server import CALLEE_ADDRESS, CALLER_ADDRESS, PASSWORD, ServerTestCase
from tests.interop.sipp import Sipp, Statistics
from tests.interop.tools import need_ipv6, until

RATE = 50.0
USERS = tuple((str(number), PASSWORD) for number in range(100, 108))


class SippTestCase(ServerTestCase):
    """301 calls from `CALLER_ADDRESS`, trusted by it; 300 is called at `CALLEE_ADDRESS`."""

    digest = '["MD5"]'  # SIPp 3.6 ends itself when the first challenge is one of SHA-256

    def callee(self, scenario: str) -> Sipp:
        """SIPp at the static contact of 300."""
        return Sipp(scenario, address=CALLEE_ADDRESS, port=self.callee_port)

    def assert_all(self, calls: int, *sides: Statistics) -> None:
        """Every call of every side went as its scenario says."""
        self.assertEqual([(side.successful, side.failed) for side in sides], [(calls, 0)] * len(sides), "\n".join(map(str, sides)))

    def pair(self, caller: str, callee: str, calls: int = 5) -> None:
        """``calls`` calls of that caller to that callee, each as both scenarios say; nothing is left of them."""
        with (
            self.callee(callee) as uas,
            Sipp(caller, self.exchange.server, address=CALLER_ADDRESS, service="300", calls=calls) as uac,
        ):
            self.assert_all(calls, uac.wait(30.0), uas.finish())
        self.assert_no_calls()
        self.assert_no_errors()


class FlowTests(SippTestCase):
    """Single flows."""

    def test_call(self) -> None:
        """INVITE to BYE (RFC 3665 §3.1)."""
        self.pair("uac", "uas")

    def test_busy(self) -> None:
        """486 comes back as 486 (RFC 3665 §3.9)."""
        self.pair("uac_refused", "uas_busy")

    def test_cancel(self) -> None:
        """CANCEL reaches the callee, the caller gets 487 (RFC 3665 §3.8)."""
        self.pair("uac_cancel", "uas_cancelled")

    def test_hold(self) -> None:
        """Re-INVITEs go through with their directions (RFC 3264 §8.4)."""
        self.pair("uac_reinvite", "uas_reinvite")

    def test_delayed_offer(self) -> None:
        """The callee's offer reaches the caller in the 200, the answer the callee in the ACK (RFC 3261 §13.2.1)."""
        self.pair("uac_delayed", "uas_delayed")

    def test_register(self) -> None:
        """Eight users register with digest and get their contact back."""
        with Sipp("register", self.exchange.server, calls=8, users=USERS) as phones:
            self.assert_all(8, phones.wait(20.0))
        self.assert_no_errors()

    def test_digest(self) -> None:
        """Calls of extensions at an address that nobody trusts are challenged and go through with the password."""
        with self.callee("uas") as uas, Sipp("uac_auth", self.exchange.server, service="300", calls=8, users=USERS) as uac:
            self.assert_all(8, uac.wait(30.0), uas.finish())
        self.assert_no_calls()

    def test_digest_wrong(self) -> None:
        """With a wrong password the callee hears nothing of it."""
        wrong = (("100", "not-the-password"),)
        with self.callee("uas") as uas, Sipp("uac_auth", self.exchange.server, service="300", calls=1, users=wrong) as uac:
            self.assertEqual((uac.wait(30.0).successful, uas.finish().created), (0, 0))
        self.assert_no_calls()


class Ipv6Tests(SippTestCase):
    """300 is at ::1, and the exchange listens there too."""

    callee_address = "::1"
    more = f'[extensions.302]\naddress = "::1"\npassword = "{PASSWORD}"\n'

    def callee(self, scenario: str) -> Sipp:
        need_ipv6()
        return Sipp(scenario, address="::1", port=self.callee_port, traced=True)

    def test_from_ipv4(self) -> None:
        """A call from 127.0.0.2 to ::1: each side is spoken to in its own family, in Via, Contact and SDP."""
        with (
            self.callee("uas") as uas,
            Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=5, traced=True) as uac,
        ):
            self.assert_all(5, uac.wait(30.0), uas.finish())
            there, here = uas.received("INVITE")[0], uac.received("SIP/2.0 200")[0]
        self.assertIn("c=IN IP6 ::1\n", there)
        self.assertIn(f"@[::1]:{self.exchange.sip_port}>", there)
        self.assertNotIn("127.0.0.2", there)
        self.assertIn("c=IN IP4 127.0.0.1\n", here)
        self.assertNotIn("::1", here)
        self.assert_no_calls()
        self.assert_no_errors()

    def test_within_ipv6(self) -> None:
        """Both sides at ::1."""
        with self.callee("uas") as uas, Sipp("uac", f"[::1]:{self.exchange.sip_port}", address="::1", service="300", calls=5) as uac:
            self.assert_all(5, uac.wait(30.0), uas.finish())
        self.assert_no_calls()
        self.assert_no_errors()


class CrashTests(SippTestCase):
    """kill -9 in the midst of 200 calls."""

    def test_kill(self) -> None:
        """It answers again within seconds, with all registrations, the records of what was over, and the cut calls closed as "restart"."""
        with Sipp("register", self.exchange.server, calls=8, users=USERS) as phones:
            self.assert_all(8, phones.wait(20.0))
        self.pair("uac", "uas")
        with (
            self.callee("uas") as uas,
            Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=200, rate=50.0, hold=60.0) as uac,
        ):
            until("200 calls", lambda: self.calls() == 200, 20.0, 0.5)
            time.sleep(1.0)  # their ACKs, and the notes of their answers
            self.exchange.kill()
            began = time.monotonic()
            self.exchange.start(10.0)
            took = time.monotonic() - began
            uac.stop()
            uas.stop()
        self.assertLess(took, 4.0, "2 s on a machine that has nothing else to do")
        self.assertEqual(len(self.exchange.shell_json("registrations().json()")), 8)
        outcomes = Counter(record["outcome"] for record in self.exchange.shell_json("records(1000).json()"))
        self.assertEqual(outcomes, {"restart": 200, "answered": 5})
        self.assert_no_calls()


class LoadTests(SippTestCase):
    """50 calls a second."""

    def test_load(self) -> None:
        """
        Every call succeeds, and 64*T1 after the last one every table of calls is empty.

        In a long run, memory does not grow with the calls, once what is kept of the last ones (messages, recent calls) is as long
        as it gets.
        """
        seconds = float(os.environ.get("PBX_INTEROP_SECONDS", "10"))
        calls = int(RATE * seconds)
        with (
            self.callee("uas") as uas,
            Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=calls, rate=RATE, hold=1.0) as uac,
        ):
            time.sleep(seconds / 2)
            memory = self.exchange.memory()
            self.assert_all(calls, uac.wait(calls / RATE + 30.0), uas.finish())
            grown = self.exchange.memory() - memory
        self.assert_empty()
        self.assert_no_errors()
        if seconds >= 120:  # before the caches of SQLite, too, are full
            self.assertLess(grown, (1 << 20) + 50 * calls, f"{grown / calls * 2:.0f} octets a call")
