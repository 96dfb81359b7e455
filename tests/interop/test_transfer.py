"""Real phones transfer calls through the real server, and who talks afterwards is heard by the tones sent."""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar

from tests.interop.baresip import Baresip
from tests.interop.phones import LOUD, QUIET, Call, Phone, PhoneError, Phones
from tests.interop.server import PASSWORD, ServerTestCase
from tests.interop.test_phones import ALICE_HZ, BOB_HZ, PhoneTestCase

CAROL_HZ = 1000.0


class TransferTests(PhoneTestCase):
    """Alice (100) talks to bob (101), and wants him to talk to carol (102, 1000 Hz)."""

    carol: ClassVar[Phone]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """One more phone, in the process of bob's."""
        super().prepare(stack)
        cls.carol = cls.registered(cls.bobs, "102", CAROL_HZ)

    def assert_joined(self, bob: Call, carol: Call) -> None:
        """Each hears the other, and neither alice nor itself."""
        self.assertGreater(bob.listen(CAROL_HZ), LOUD)
        self.assertGreater(carol.listen(BOB_HZ), LOUD)
        for call, own in ((bob, BOB_HZ), (carol, CAROL_HZ)):
            self.assertLess(call.heard(own), QUIET)
            self.assertLess(call.heard(ALICE_HZ), QUIET)

    def target(self, number: str = "102") -> str:
        """The URI of a number."""
        return f"sip:{number}@{self.exchange.server}"

    def consult(self) -> tuple[Call, Call]:
        """Alice's call to carol, and carol's end of it."""
        call = self.alice.dial("102")
        carol = self.carol.next_call()
        carol.answer()
        call.established()
        return call, carol

    def test_blind(self) -> None:
        """Held and then transferred, as most phones do it: bob and carol hear each other, alice is out."""
        alice, bob = self.talk()
        alice.hold()
        ordered = self.alices.start(alice._name, "transfer", self.target())
        carol = self.carol.next_call()
        carol.answer()
        self.alices.finish(ordered)
        alice.closed()
        self.assert_joined(bob, carol)
        self.hang_up(carol, bob)

    def test_blind_by_the_called(self) -> None:
        """Bob, who was called, transfers alice to carol, without holding her before."""
        alice, bob = self.talk()
        ordered = self.bobs.start(bob._name, "transfer", self.target())
        carol = self.carol.next_call()
        carol.answer()
        self.bobs.finish(ordered)
        self.assertGreater(alice.listen(CAROL_HZ), LOUD)
        self.assertGreater(carol.listen(ALICE_HZ), LOUD)
        self.hang_up(alice, carol)

    def test_attended(self) -> None:
        """Alice asks carol first, and joins the two: nobody rings anew, both hear each other, and alice's two calls end."""
        alice, bob = self.talk()
        alice.hold()
        consultation, carol = self.consult()
        self.assertGreater(carol.listen(ALICE_HZ), LOUD)
        alice.transfer_to(consultation)
        alice.closed()
        consultation.closed()
        self.assert_joined(bob, carol)
        self.assertRaises(PhoneError, self.carol.next_call, 0.5)
        self.hang_up(bob, carol)

    def test_refused(self) -> None:
        """Carol is busy: alice's phone is told so, and she takes bob back."""
        alice, bob = self.talk()
        alice.hold()
        ordered = self.alices.start(alice._name, "transfer", self.target())
        self.carol.next_call().reject()
        error = self.assertRaises(PhoneError, self.alices.finish, ordered)
        self.assertEqual((error.kind, error.status), ("TransferFailed", 486))
        alice.resume()
        self.assert_hear_each_other(alice, bob)
        self.hang_up(alice, bob)

    def test_to_the_echo(self) -> None:
        """Bob, held, is sent to the echo, and hears himself."""
        alice, bob = self.talk()
        alice.hold()
        alice.transfer(self.target("600"))
        alice.closed()
        self.assertGreater(bob.listen(BOB_HZ), LOUD)
        bob.hang_up()


class OldPhoneTests(ServerTestCase):
    """
    Debian's baresip 1.0, which knows blind transfers only, as the transferor.

    As the transferee it would often hear nothing: its jitter buffer takes another sender with lower sequence numbers for late packets.
    """

    digest = '["MD5"]'

    def test_blind(self) -> None:
        """100 transfers 101 to 102; those two hear each other, and 100 hangs up by itself."""
        with Phones() as phones, Baresip("100", self.exchange.server, PASSWORD, frequency_hz=ALICE_HZ) as transferor:
            bob = phones.phone("101", self.exchange.server, PASSWORD, frequency_hz=BOB_HZ)
            carol = phones.phone("102", self.exchange.server, PASSWORD, frequency_hz=CAROL_HZ)
            bob.register()
            carol.register()
            transferor.await_registered()
            transferor.command("dial", f"sip:101@{self.exchange.server}")
            transferee = bob.next_call()
            transferee.answer()
            transferor.await_event("CALL_ESTABLISHED")
            transferor.command("transfer", f"sip:102@{self.exchange.server}")
            target = carol.next_call()
            target.answer()
            transferor.await_event("CALL_CLOSED")
            self.assertGreater(transferee.listen(CAROL_HZ), LOUD)
            self.assertGreater(target.listen(BOB_HZ), LOUD)
            target.hang_up()
            transferee.closed()
            self.assert_no_calls()
        self.assert_no_errors()
