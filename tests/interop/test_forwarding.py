"""Calls that are forwarded, over real sockets and with real phones (REFERENCE §1)."""

from __future__ import annotations

from contextlib import ExitStack
from types import MappingProxyType
from typing import ClassVar

from tests.interop.phones import LOUD, Phone
from tests.interop.server import CALLER_ADDRESS
from tests.interop.sipp import Sipp
from tests.interop.test_phones import ALICE_HZ, BOB_HZ, PhoneTestCase
from tests.interop.test_sipp import SippTestCase
from tests.interop.tools import until

CAROL_HZ = 950.0
BEEP_HZ = 450.0
"""Of the tones that confirm a star code, or refuse it."""


class HopsTests(SippTestCase):
    """SIPp on both sides."""

    more = """
[extensions.310]
contact = "sip:310@CALLEE"
forward_busy = "311"

[extensions.311]
contact = "sip:311@CALLEE"
"""

    def test_two_hops(self) -> None:
        """300 redirects by 302, 310 is busy: the caller gets one 181 a hop, its Call-Info to the letter, and talks to 311."""
        calls = 20
        with (
            self.callee("uas_hops") as uas,
            Sipp("uac_hops", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=calls) as uac,
        ):
            self.assert_all(calls, uac.wait(30.0))
            self.assertEqual((uas.finish().successful, uas.finish().failed), (3 * calls, 0))
        self.assert_no_calls()
        self.assert_no_errors()


class StarCodeTests(PhoneTestCase):
    """Bob (101) sets his forwards from his phone; Carol is 102."""

    of_extensions = MappingProxyType({101: "forwarding = true"})
    carol: ClassVar[Phone]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        super().prepare(stack)
        cls.carol = cls.registered(cls.bobs, "102", CAROL_HZ)

    def dial_code(self, code: str) -> float:
        """Dial it on Bob's phone and listen until the exchange hangs up; gives how loud the beep was."""
        call = self.bob.dial(code)
        call.established()
        loud = 0.0

        def heard() -> bool:
            nonlocal loud
            loud = max(loud, call.heard(BEEP_HZ, 0.5))
            return loud > LOUD / 20

        until("the beep", heard, 3.0)
        call.closed()
        return loud

    def test_set_and_end(self) -> None:
        """``*93*102``: a beep, and calls for Bob ring at Carol's and are heard there; ``*93#``: they ring at Bob's again."""
        self.assertGreater(self.dial_code("*93*102"), LOUD / 20)
        call = self.alice.dial("101")
        ringing = self.carol.next_call()
        ringing.answer()
        call.established()
        self.assertGreater(call.listen(CAROL_HZ), LOUD)
        self.assertGreater(ringing.listen(ALICE_HZ), LOUD)
        self.hang_up(call, ringing)
        self.dial_code("*93#")
        alice, bob = self.talk()
        self.assertGreater(alice.listen(BOB_HZ), LOUD)
        self.hang_up(alice, bob)

    def test_refused(self) -> None:
        """Its own number: 403, and nothing has changed."""
        self.assertEqual(self.bob.dial("*93*101").refused(), 403)
        self.assertEqual(self.exchange.shell_json("forwards().json()"), [])
