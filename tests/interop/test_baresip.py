"""Debian's baresip 1.0 through the exchange: another build, another generation of the same stack, sound from files."""

from __future__ import annotations

import time

from tests.interop.baresip import Baresip
from tests.interop.phones import LOUD, QUIET
from tests.interop.server import PASSWORD, ServerTestCase

MD5_ONLY = '["MD5"]'


class BaresipTests(ServerTestCase):
    """
    Two phones that know nothing of each other, and nothing of SHA-256.

    This release gives up at a challenge whose algorithm it does not know, instead of taking the next one (RFC 8760 §2.4): an
    operator sets ``digest = ["MD5"]``, for all or for the extensions that have such phones.
    """

    digest = MD5_ONLY

    def test_call(self) -> None:
        """They register, one calls the other's number, and each records the other's tone and nothing of its own."""
        with (
            Baresip("101", self.exchange.server, PASSWORD, frequency_hz=700.0, answers=True) as callee,
            Baresip("100", self.exchange.server, PASSWORD, frequency_hz=440.0) as caller,
        ):
            callee.await_registered()
            caller.await_registered()
            caller.command("dial", f"sip:101@{self.exchange.server}")
            caller.await_event("CALL_ESTABLISHED")
            callee.await_event("CALL_ESTABLISHED")
            time.sleep(4.0)
            caller.command("hangup")
            callee.await_event("CALL_CLOSED")
            self.assert_no_calls()
            self.assertGreater(caller.heard(700.0), LOUD)
            self.assertGreater(callee.heard(440.0), LOUD)
            self.assertLess(caller.heard(440.0), QUIET)
            self.assertLess(callee.heard(700.0), QUIET)
        self.assert_no_errors()


class OneOldPhoneTests(ServerTestCase):
    """``digest`` of one extension."""

    more = f'[extensions.120]\npassword = "{PASSWORD}"\ndigest = {MD5_ONLY}\n'

    def test_register(self) -> None:
        """An old phone can register although all other extensions are offered SHA-256."""
        with Baresip("120", self.exchange.server, PASSWORD, frequency_hz=440.0) as phone:
            phone.await_registered()
