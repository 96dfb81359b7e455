"""The tools against each other, without the exchange: what they do there they may be trusted to do with it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.phones import LOUD, QUIET, Phones
from tests.interop.server import CALLEE_ADDRESS, CALLER_ADDRESS
from tests.interop.sipp import Sipp, Statistics
from tests.interop.tools import until


class ScenarioTests(SynchronousTestCase):
    """Each SIPp caller against its SIPp callee."""

    def pair(self, caller: str, callee: str, calls: int = 5, users: tuple[tuple[str, str], ...] = ()) -> tuple[Statistics, Statistics]:
        """The statistics of both sides of ``calls`` calls."""
        with Sipp(callee, address=CALLEE_ADDRESS) as uas, Sipp(caller, uas.at, address=CALLER_ADDRESS, calls=calls, users=users) as uac:
            return uac.wait(20.0), uas.finish()

    def assert_all(self, *both: Statistics, calls: int = 5) -> None:
        """Nothing failed on either side."""
        self.assertEqual([(side.successful, side.failed) for side in both], [(calls, 0)] * 2, "\n".join(map(str, both)))

    def test_call(self) -> None:
        """INVITE to BYE."""
        self.assert_all(*self.pair("uac", "uas"))

    def test_busy(self) -> None:
        """486."""
        self.assert_all(*self.pair("uac_refused", "uas_busy"))

    def test_cancel(self) -> None:
        """CANCEL while it rings."""
        self.assert_all(*self.pair("uac_cancel", "uas_cancelled"))

    def test_hold(self) -> None:
        """Hold and resume by re-INVITE."""
        self.assert_all(*self.pair("uac_reinvite", "uas_reinvite"))

    def test_delayed_offer(self) -> None:
        """No offer in the INVITE."""
        self.assert_all(*self.pair("uac_delayed", "uas_delayed"))

    def test_register(self) -> None:
        """REGISTER with digest."""
        self.assert_all(*self.pair("register", "registrar", users=(("100", "secret"), ("101", "secret"))))


class PhoneToPhoneTests(SynchronousTestCase):
    """Two real phones, peer to peer."""

    def test_call(self) -> None:
        """Sound and pictures both ways, keys, hold."""
        with Phones() as callees, Phones() as callers:
            bob = callees.phone("bob", "127.0.0.1:9", registers=False, frequency_hz=700.0)
            nobody = bob.dial("nobody")
            here = until("a Via that says where the phones listen", callees.contact)
            nobody.hang_up()
            alice = callers.phone("alice", "127.0.0.1:9", registers=False, frequency_hz=440.0)
            call = alice.dial(f"sip:bob@{here}", video=True)
            ringing = bob.next_call()
            ringing.answer(video=True)
            call.established(video=True)
            self.assertGreater(call.listen(700.0), LOUD)
            self.assertGreater(ringing.listen(440.0), LOUD)
            self.assertLess(call.heard(440.0), QUIET)
            call.send_digits("1#")
            ringing.await_digits("1#")
            self.assertGreater(call.frames(), 5)
            self.assertGreater(ringing.frames(), 5)
            call.hold()
            self.assertLess(ringing.silence(440.0), QUIET)
            self.assertTrue(ringing.held())
            call.resume()
            self.assertGreater(ringing.listen(440.0), LOUD)
            call.hang_up()
            ringing.closed()
            self.assertGreater(ringing.stats()["rx_packets"], 50)
