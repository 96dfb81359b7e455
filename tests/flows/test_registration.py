"""REGISTER: RFC 3261 §10.3, RFC 3665 §2, and what outlives the process."""

from __future__ import annotations

from pbx.testing.phone import Phone
from pbx.testing.world import START, World
from tests.flows.base import FlowTests


class RegistrationTests(FlowTests):
    """RFC 3665 §2."""

    def contacts(self, phone: Phone) -> list[str]:
        assert phone.last_response is not None
        return phone.last_response.headers.get("contact", [])

    def rings(self, phone: Phone) -> bool:
        """Whether a call to 100 rings this phone."""
        caller = self.world.phone("102")
        before = len(phone.incoming)
        call = caller.dial("100")
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        return len(phone.incoming) > before

    def test_new_registration(self) -> None:
        """401 with SHA-256 before MD5, then 200 with the binding and its expiry (RFC 3665 §2.1)."""
        alice = self.make_world().phone("100")
        challenges = alice.received(401)[0].headers["www-authenticate"]
        self.assertEqual(["SHA-256" in challenge for challenge in challenges], [True, False])
        self.assertEqual(len(self.contacts(alice)), 1)
        self.assertIn("expires=3600", self.contacts(alice)[0])
        self.assertTrue(self.rings(alice))

    def test_refresh(self) -> None:
        """A refresh keeps one binding, and counts its time anew (RFC 3665 §2.2)."""
        alice = self.make_world().phone("100")
        self.world.run(3000.0)
        alice.register()
        self.world.run(1000.0)
        self.assertEqual((alice.registered, len(self.contacts(alice))), (200, 1))
        self.assertTrue(self.rings(alice))

    def test_fetch(self) -> None:
        """REGISTER without a Contact only asks (RFC 3665 §2.3, RFC 3261 §10.2.3)."""
        world = self.make_world()
        alice, second = world.phone("100"), world.phone("100")
        alice.register(contact="")
        world.run(0.5)
        self.assertEqual(alice.registered, 200)
        self.assertEqual(len(self.contacts(alice)), 2)
        self.assertTrue(any(second.address in contact for contact in self.contacts(alice)))

    def test_unregister(self) -> None:
        """Expires 0 takes the binding back (RFC 3665 §2.4)."""
        alice = self.make_world().phone("100")
        alice.register(0)
        self.world.run(0.5)
        self.assertEqual((alice.registered, self.contacts(alice)), (200, []))
        self.assertFalse(self.rings(alice))

    def test_unregister_all(self) -> None:
        """``Contact: *`` with Expires 0 takes all of them back; with another Expires it is 400 (§10.3)."""
        world = self.make_world()
        alice, _ = world.phone("100"), world.phone("100")
        alice.register(60, contact="*")
        world.run(0.5)
        self.assertEqual(alice.registered, 400)
        alice.register(0, contact="*")
        world.run(0.5)
        self.assertEqual((alice.registered, len(world.exchange.location)), (200, 0))

    def test_too_brief(self) -> None:
        """423 with Min-Expires (§10.3 step 7)."""
        alice = self.make_world().phone("100", registers=False)
        alice.register(10)
        self.world.run(0.5)
        self.assertEqual(alice.registered, 423)
        self.assertEqual(alice.received(423)[0].first("min-expires"), "60")

    def test_most_contacts(self) -> None:
        """One device more than ``max_contacts`` takes the place of the one longest not refreshed (REFERENCE §0)."""
        world = self.make_world('[extensions.100]\npassword = "secret of 100"\nmax_contacts = 2\n')
        phones = []
        for _ in range(3):
            phones.append(world.phone("100"))
            world.run(10.0)
        self.assertEqual(len(world.exchange.location), 2)
        self.assertEqual([self.rings(phone) for phone in phones], [False, True, True])

    def test_wrong_user(self) -> None:
        """A right password for 100 does not register anything for 101: 403."""
        alice = self.make_world().phone("100", registers=False)
        alice.register(number="101")
        self.world.run(0.5)
        self.assertEqual((alice.registered, len(self.world.exchange.location)), (403, 0))

    def test_wrong_password(self) -> None:
        """401 again, and no binding; an unknown user gets exactly the same."""
        for number, password in (("100", "wrong"), ("777", "wrong")):
            phone = self.make_world().phone(number, registers=False, password=password)
            phone.register()
            self.world.run(0.5)
            self.assertEqual((phone.registered, len(self.world.exchange.location)), (401, 0))

    def test_banned_after_twenty(self) -> None:
        """Twenty wrong proofs: the address is not heard any more, and another device of the victim is (RELIABILITY 12)."""
        world = self.make_world()
        thief = world.phone("100", registers=False, password="wrong")
        for _ in range(25):
            thief.register()
            world.run(7.0)
        before = len(thief.received(401))
        thief.register()
        world.run(7.0)
        self.assertEqual(len(thief.received(401)), before)
        self.assertEqual([ban.address for ban in world.service.guard.bans(world.clock.seconds())], [thief.address])
        self.assertEqual(world.phone("100").registered, 200)
        self.flushLoggedErrors()

    def test_expires(self) -> None:
        """An expired binding is never rung, also before the sweep (RELIABILITY 11)."""
        alice = self.make_world().phone("100", registers=False)
        alice.register(60)
        self.world.run(60.6)
        self.assertFalse(self.rings(alice))

    def test_stored_before_the_200(self) -> None:
        """What is confirmed is on disk (RELIABILITY 13)."""
        alice = self.make_world().phone("100")
        (row,) = self.world.store.bindings["100"]
        self.assertIn(alice.address, str(row))

    def test_disk_full(self) -> None:
        """The store cannot write: 503 with Retry-After, and nothing is bound; calls go on working."""
        world = self.make_world()
        alice, bob = world.phone("100"), world.phone("101")
        world.store.full = True
        second = world.phone("100", registers=False)
        second.register()
        world.run(0.5)
        self.assertEqual(second.registered, 503)
        self.assertIsNotNone(second.received(503)[0].first("retry-after"))
        self.assertEqual(len(world.exchange.location.of("100")), 1)
        call, answered = self.connected(alice, bob)
        call.hang_up()
        world.run(0.5)
        self.assertEqual(answered.state, "over")
        world.store.full = False
        second.register()
        world.run(0.5)
        self.assertEqual((second.registered, len(world.exchange.location.of("100"))), (200, 2))

    def test_unregistering_on_a_full_disk(self) -> None:
        """A binding whose end cannot be written stays."""
        world = self.make_world()
        alice = world.phone("100")
        world.store.full = True
        alice.register(0)
        world.run(0.5)
        self.assertEqual((alice.registered, len(world.exchange.location.of("100"))), (503, 1))

    def test_old_cseq(self) -> None:
        """A REGISTER that is older than the binding's last changes nothing (§10.3 step 7)."""
        alice = self.make_world().phone("100")
        alice._cseq -= 2
        alice.register(0)
        self.world.run(0.5)
        self.assertGreaterEqual(alice.registered, 400)
        self.assertEqual(len(self.world.exchange.location), 1)

    def test_no_credentials_leave_nothing(self) -> None:
        """Requests that prove nothing make no transaction (RELIABILITY 4)."""
        world = self.make_world()
        thief = world.phone("100", registers=False, password="wrong")
        thief.register()
        world.run(0.5)
        self.assertEqual(world.service.transactions.sizes()["standing_transactions"], 0)


class RestartTests(FlowTests):
    """A second process with what the first has left."""

    def test_bindings_survive(self) -> None:
        """A phone that was registered is rung after the restart without registering again."""
        first = self.make_world()
        first.phone("100")
        second = self.make_world(store=first.store)
        bob = second.phone("100", registers=False, address="198.51.100.1")
        alice = second.phone("101", address="198.51.100.2")
        call, answered = self.connected(alice, bob)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_never_served_expired(self) -> None:
        """A binding that has expired while the process was down is not rung."""
        first = self.make_world()
        first.phone("100")
        for rows in first.store.bindings.values():
            for row in rows:
                for key, value in row.items():
                    if isinstance(value, float) and value > START:
                        row[key] = value - 10_000.0
        second = self.make_world(store=first.store)
        self.assertEqual(len(second.exchange.location), 0)
        call = second.phone("101", address="198.51.100.2").dial("100")
        second.run(0.5)
        self.assertEqual(call.statuses, [480])

    def test_time_goes_on_while_it_is_down(self) -> None:
        """Expiry is kept as a time of the day: a restart does not prolong a binding."""
        first = self.make_world()
        first.phone("100")
        second = World(store=first.store)
        (binding,) = second.exchange.location.of("100")
        self.assertLess(abs(binding.expires_at - 3600.0), 1.0)

    def test_connections_do_not_survive(self) -> None:
        """A phone that had a TCP connection is unreachable until it registers again."""
        first = self.make_world()
        first.phone("100", transport="TCP")
        second = self.make_world(store=first.store)
        call = second.phone("101", address="198.51.100.2").dial("100")
        second.run(0.5)
        self.assertEqual(call.statuses, [480])
        self.assertEqual(len(second.exchange.location), 2)

    def test_extension_is_gone(self) -> None:
        """Bindings of an extension that the configuration does not name any more are not taken."""
        first = self.make_world()
        first.phone("102")
        second = self.make_world(store=first.store, extensions=("100", "101"))
        self.assertEqual(len(second.exchange.location), 0)
