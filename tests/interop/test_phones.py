"""Real phones through the real server: what a person with a telephone would notice, heard by correlation with the tones sent."""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar

from tests.interop.phones import LOUD, QUIET, Call, Phone, PhoneError, Phones
from tests.interop.server import PASSWORD, ServerTestCase
from tests.interop.tools import until

ALICE_HZ = 440.0
BOB_HZ = 700.0


class PhoneTestCase(ServerTestCase):
    """Extension 100 (alice, 440 Hz) and 101 (bob, 700 Hz), both registered, in two processes."""

    alices: ClassVar[Phones]
    bobs: ClassVar[Phones]
    alice: ClassVar[Phone]
    bob: ClassVar[Phone]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """Start the exchange and the phones."""
        super().prepare(stack)
        cls.alices, cls.bobs = stack.enter_context(Phones()), stack.enter_context(Phones())
        cls.alice = cls.registered(cls.alices, "100", ALICE_HZ)
        cls.bob = cls.registered(cls.bobs, "101", BOB_HZ)

    def phones(self) -> Phones:
        """One more process for phones, for one test."""
        phones = Phones()
        self.addCleanup(phones.close)
        return phones

    @classmethod
    def registered(cls, phones: Phones, number: str, frequency_hz: float, transport: str = "udp") -> Phone:
        """A phone of that extension, registered."""
        phone = phones.phone(number, cls.exchange.server, PASSWORD, frequency_hz=frequency_hz, transport=transport)
        phone.register()
        return phone

    def tearDown(self) -> None:
        """No call is left and nothing broke."""
        self.assert_no_calls()
        self.assert_no_errors()

    def talk(self, *, video: bool = False) -> tuple[Call, Call]:
        """Alice calls 101 and bob answers."""
        call = self.alice.dial("101", video=video)
        ringing = self.bob.next_call()
        ringing.answer(video=video)
        call.established(video=video)
        return call, ringing

    def hang_up(self, one: Call, *others: Call) -> None:
        """One hangs up, and all others notice."""
        one.hang_up()
        for other in others:
            other.closed()

    def assert_hear_each_other(self, alice: Call, bob: Call) -> None:
        """Each hears the other's tone, and not its own."""
        self.assertGreater(alice.listen(BOB_HZ), LOUD)
        self.assertGreater(bob.listen(ALICE_HZ), LOUD)
        self.assertLess(alice.heard(ALICE_HZ), QUIET)
        self.assertLess(bob.heard(BOB_HZ), QUIET)


class TalkTests(PhoneTestCase):
    """A call between two extensions."""

    def test_sound(self) -> None:
        """Each hears the other; the caller's hang-up reaches the callee; nothing is lost on loopback."""
        alice, bob = self.talk()
        self.assert_hear_each_other(alice, bob)
        self.hang_up(alice, bob)
        stats = bob.stats()
        self.assertGreater(stats["rx_packets"], 45)
        self.assertEqual((stats["rx_lost"], stats["rx_errors"]), (0, 0))

    def test_callee_hangs_up(self) -> None:
        """The callee's hang-up reaches the caller."""
        alice, bob = self.talk()
        self.hang_up(bob, alice)

    def test_video(self) -> None:
        """Pictures arrive both ways beside the sound (REFERENCE: every m-line is relayed)."""
        alice, bob = self.talk(video=True)
        until("ten pictures at each", lambda: alice.frames() > 10 and bob.frames() > 10, 8.0)
        self.assert_hear_each_other(alice, bob)
        self.hang_up(alice, bob)

    def test_hold(self) -> None:
        """The held side hears nothing, and everything again after the resume; from either side."""
        alice, bob = self.talk()
        for holder, held, frequency_hz in ((alice, bob, ALICE_HZ), (bob, alice, BOB_HZ)):
            self.assertGreater(held.listen(frequency_hz), LOUD)
            holder.hold()
            until("the held side to know it", held.held)
            self.assertLess(held.silence(frequency_hz), QUIET)
            holder.resume()
            until("the held side to be taken back", held.free)
            self.assert_hear_each_other(alice, bob)
        self.hang_up(alice, bob)

    def test_keys(self) -> None:
        """Keys pressed on one phone arrive at the other, in order, both ways (RFC 4733)."""
        alice, bob = self.talk()
        alice.send_digits("12*#")
        bob.await_digits("12*#")
        bob.send_digits("90A")
        alice.await_digits("90A")
        self.hang_up(alice, bob)

    def test_tcp(self) -> None:
        """A phone that speaks TCP talks with one that speaks UDP, whoever calls."""
        self.both_ways(self.registered(self.phones(), "103", ALICE_HZ, transport="tcp"))

    def test_tls(self) -> None:
        """So does one that speaks TLS."""
        server = f"{self.exchange.address}:{self.tls_port}"
        grace = self.phones().phone("106", server, PASSWORD, frequency_hz=ALICE_HZ, transport="tls")
        grace.register()
        self.both_ways(grace)

    def both_ways(self, carol: Phone) -> None:
        """A phone with alice's tone calls bob and is called by him."""
        call = carol.dial("101")
        ringing = self.bob.next_call()
        ringing.answer()
        call.established()
        self.assert_hear_each_other(call, ringing)
        self.hang_up(ringing, call)
        back = self.bob.dial(carol.user)
        there = carol.next_call()
        there.answer()
        back.established()
        self.hang_up(back, there)

    def between(self, **account: object) -> tuple[Phones, Phones]:
        """Extensions 104 and 105 as phones with such accounts: 104 calls, both are heard, 105 hangs up. Returns both processes."""
        desks = self.phones(), self.phones()
        eve, frank = (
            desk.phone(number, self.exchange.server, PASSWORD, frequency_hz=frequency_hz, **account)
            for desk, number, frequency_hz in zip(desks, ("104", "105"), (ALICE_HZ, BOB_HZ), strict=True)
        )
        eve.register()
        frank.register()
        call = eve.dial("105")
        ringing = frank.next_call()
        ringing.answer()
        call.established()
        self.assert_hear_each_other(call, ringing)
        self.hang_up(ringing, call)
        eve.unregister()
        frank.unregister()
        return desks

    def test_opus(self) -> None:
        """A codec that the exchange does not know is relayed as it is: stereo at 48 kHz."""
        self.between(codecs=("opus/48000/2",))

    def test_srtp(self) -> None:
        """Phones that insist on SRTP agree on their keys through the exchange (RFC 4568, passed end to end)."""
        caller, _ = self.between(parameters=("mediaenc=srtp-mand",))
        self.assertTrue(caller.traced("TX", "INVITE sip:", "RTP/SAVP", "a=crypto"))

    def test_headers_not_copied(self) -> None:
        """Messages are built, not copied: a header of the caller's own does not reach the callee, nor does its Call-ID."""
        call = self.alice.dial("101", headers={"X-Private": "inside"})
        ringing = self.bob.next_call()
        self.assertEqual(self.bobs.traced("RX UDP", "INVITE sip:", "X-Private"), [])
        self.assertNotEqual(call.call_id(), ringing.call_id())
        call.hang_up()
        ringing.closed()


class RefusedTests(PhoneTestCase):
    """Calls that are not answered, and how the caller hears of it."""

    more = '[extensions.110]\npassword = "a-long-secret-for-tests"\nring_timeout = 2.0\n'

    def test_cancel(self) -> None:
        """The caller gives up: the callee stops ringing."""
        call = self.alice.dial("101")
        ringing = self.bob.next_call()
        call.hang_up()
        ringing.closed()

    def test_busy(self) -> None:
        """The callee is busy: 486."""
        call = self.alice.dial("101")
        self.bob.next_call().reject()
        self.assertEqual(call.refused(), 486)

    def test_no_answer(self) -> None:
        """Nobody picks up in ``ring_timeout``: 480, and the phone stops ringing."""
        dora = self.registered(self.phones(), "110", BOB_HZ)
        call = self.alice.dial("110")
        ringing = dora.next_call()
        self.assertEqual(call.refused(), 480)
        ringing.closed()

    def test_unknown(self) -> None:
        """A number that nobody has: 404."""
        self.assertEqual(self.alice.dial("4711").refused(), 404)

    def test_offline(self) -> None:
        """A number whose phone is not registered: 480."""
        self.assertEqual(self.alice.dial("105").refused(), 480)

    def test_wrong_password(self) -> None:
        """No registration without the password, and no call either."""
        mallory = self.alices.phone("106", self.exchange.server, "a-guess")
        error = self.assertRaises(PhoneError, mallory.register)
        self.assertIn(error.status, (401, 403))
        self.assertIn(mallory.dial("101").refused(), (401, 403))
        self.assertRaises(PhoneError, self.bob.next_call, 0.5)


class ManyPhonesTests(PhoneTestCase):
    """Three phones with one number."""

    def test_first_wins(self) -> None:
        """All ring; the first that answers has the call; the others are told that it was completed elsewhere (RFC 3326)."""
        desks = [self.phones() for _ in range(3)]
        phones = [self.registered(desk, "102", BOB_HZ) for desk in desks]
        call = self.alice.dial("102")
        ringing = [phone.next_call() for phone in phones]
        ringing[1].answer()
        call.established()
        for loser in (0, 2):
            ringing[loser].closed()
            [cancel] = desks[loser].traced("RX UDP", "\nCANCEL sip:")
            self.assertRegex(cancel, r'Reason: SIP ?; ?cause=200 ?; ?text="Call completed elsewhere"')
        self.assert_hear_each_other(call, ringing[1])
        self.hang_up(call, ringing[1])

    def test_one_is_busy(self) -> None:
        """One of two is busy: the other goes on ringing and can answer."""
        phones = [self.registered(self.phones(), "104", BOB_HZ) for _ in range(2)]
        call = self.alice.dial("104")
        first, second = (phone.next_call() for phone in phones)
        first.reject()
        second.answer()
        call.established()
        self.hang_up(second, call)


class ServiceTests(PhoneTestCase):
    """Numbers that the exchange answers itself."""

    def test_echo(self) -> None:
        """600 says back what it hears."""
        call = self.alice.dial("600")
        call.established()
        self.assertGreater(call.listen(ALICE_HZ), LOUD)
        call.hang_up()

    def test_tone(self) -> None:
        """601 plays 440 Hz to a phone that sends 700 Hz."""
        call = self.bob.dial("601")
        call.established()
        self.assertGreater(call.listen(440.0), 1000.0)
        self.assertLess(call.heard(BOB_HZ), QUIET)
        call.hang_up()


class CrashTests(PhoneTestCase):
    """kill -9, and a start."""

    def test_registrations_survive(self) -> None:
        """The exchange answers soon after its start, and a phone that has not registered again can be called."""
        self.exchange.kill()
        self.exchange.start(5.0)
        alice, bob = self.talk()
        self.assert_hear_each_other(alice, bob)
        self.hang_up(alice, bob)
