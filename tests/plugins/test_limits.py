"""The limits plugin, and the limits of single extensions (REFERENCE §9)."""

from __future__ import annotations

from tests.flows.base import FlowTests


class LimitsTests(FlowTests):
    """``[limits]``."""

    def test_max_clients(self) -> None:
        """The sixth device: 403 with a Warning; refreshes pass, and when one leaves there is room."""
        world = self.make_world("[limits]\nmax_clients = 5\n")
        phones = [world.phone(number) for number in ("100", "100", "101", "101", "102")]
        sixth = world.phone("102", registers=False)
        sixth.register()
        world.run(0.5)
        self.assertEqual(sixth.registered, 403)
        warning = sixth.received(403)[0].first("warning")
        self.assertTrue(warning.startswith("399 "), warning)
        self.assertIn('"client limit 5 reached"', warning)
        for phone in phones:
            phone.register()
            world.run(0.5)
        self.assertEqual([phone.registered for phone in phones], [200] * 5)
        phones[0].register(0)
        world.run(0.5)
        sixth.register()
        world.run(0.5)
        self.assertEqual((phones[0].registered, sixth.registered), (200, 200))

    def test_expired_devices_do_not_count(self) -> None:
        """A device whose registration has just expired makes room at once, not at the next sweep."""
        world = self.make_world("[limits]\nmax_clients = 1\n")
        alice = world.phone("100", registers=False)
        alice.register(60)
        world.run(61.0)
        self.assertEqual(world.phone("101").registered, 200)

    def test_unlimited(self) -> None:
        """0 means no limit."""
        world = self.make_world()
        self.assertEqual([world.phone("100").registered for _ in range(5)], [200] * 5)

    def test_max_calls(self) -> None:
        """One call more than there may be: 503; after a hang-up there is room."""
        alice, bob = self.two_phones("[limits]\nmax_calls = 1\n")
        carol = self.world.phone("102")
        call, _ = self.connected(alice, bob)
        second = carol.dial("101")
        self.world.run(0.5)
        self.assertEqual(second.statuses, [503])
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.connected(carol, bob)[0].state, "talking")


class ExtensionLimitTests(FlowTests):
    """``max_calls`` of one extension."""

    ONE = '[extensions.101]\npassword = "secret of 101"\nmax_calls = 1\n'

    def test_called(self) -> None:
        """It is busy for a second caller."""
        alice, bob = self.two_phones(self.ONE)
        carol = self.world.phone("102")
        call, _ = self.connected(alice, bob)
        second = carol.dial("101")
        self.world.run(0.5)
        self.assertEqual((second.statuses, len(bob.incoming)), ([486], 1))
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.connected(carol, bob)[0].state, "talking")

    def test_caller(self) -> None:
        """It may not make a second call."""
        _, bob = self.two_phones(self.ONE)
        bob.dial("100")
        self.world.run(0.5)
        second = bob.dial("102")
        self.world.run(0.5)
        self.assertEqual(second.statuses, [486])

    def test_several_devices_count_once(self) -> None:
        """One call that rings three devices of it is one call."""
        alice, bob = self.two_phones(self.ONE)
        others = [self.world.phone("101") for _ in range(2)]
        alice.dial("101")
        self.world.run(0.5)
        self.assertEqual([len(phone.incoming) for phone in (bob, *others)], [1, 1, 1])

    def test_refused_calls_do_not_count(self) -> None:
        """What was refused or given up takes no place."""
        alice, bob = self.two_phones(self.ONE)
        bob.refuses_with = 486
        for _ in range(3):
            alice.dial("101")
            self.world.run(0.5)
        self.assertEqual(len(bob.incoming), 3)
        self.assertEqual(len(self.world.exchange.claims), 0)
