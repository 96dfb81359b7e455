"""Minutes a day (RELIABILITY 12): who steals a password does not telephone through the night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.call.peer import Caller
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall
    from pbx.testing.world import World

CARRIER = "203.0.113.1"
CONFIGURATION = f"""
[minutes]
a_day = 2.0
[media]
silence_timeout = 900.0
[trunks.acme]
address = "{CARRIER}"
prefixes = ["9"]
probe = 0
[extensions.100]
password = "secret of 100"
[extensions.101]
password = "secret of 101"
minutes_a_day = 0.5
[extensions.102]
password = "secret of 102"
minutes_a_day = 0
"""


class MinutesTests(FlowTests):
    """100 may talk for two minutes a day, 101 for half a one, 102 as long as it likes."""

    def setUp(self) -> None:
        self.make_world(CONFIGURATION)
        self.carrier = self.there(self.world)

    def there(self, world: World) -> Phone:
        carrier = world.phone("carrier", registers=False, address=CARRIER)
        carrier.answers_at_once = True
        return carrier

    def out(self, phone: Phone, seconds: float) -> PhoneCall:
        """A call out that is left alone for a while."""
        call = phone.dial("95551")
        self.world.run(seconds)
        return call

    def used(self) -> dict[str, Any]:
        return {row["number"]: row["used"] for row in self.world.service.generation.shell_commands()["minutes"]()}

    def test_used_up(self) -> None:
        """The call is ended when they are, with both sides told, and the next one gets 403; the shell shows it."""
        phone = self.world.phone("100")
        call = self.out(phone, 110.0)
        self.assertEqual(call.state, "talking")
        self.world.run(11.0)
        self.assertEqual((call.state, self.carrier.incoming[0].state), ("over", "over"))
        self.assertEqual(self.last_record().reason, "the minutes of today are used up")
        self.assertEqual(self.out(phone, 1.0).statuses[-1], 403)
        self.assertEqual(self.used(), {"100": 2.0, "101": 0.0})

    def test_add_up(self) -> None:
        """Several calls of a day add up; ringing costs nothing."""
        phone = self.world.phone("100")
        for _ in range(2):
            call = self.out(phone, 50.0)
            call.hang_up()
            self.world.run(100.0)
        last = self.out(phone, 15.0)
        self.assertEqual(last.state, "talking")
        self.world.run(10.0)
        self.assertEqual(last.state, "over")

    def test_rights_change(self) -> None:
        """Whoever pays at the answer does to the end; nothing is left of the call afterwards."""
        call = self.out(self.world.phone("100"), 30.0)
        [live] = self.world.exchange.calls.values()
        live.rights = self.world.exchange.directory["102"]
        self.world.run(30.0)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(self.used()["100"], 1.0)
        self.assertEqual(self.world.service.generation.instances["minutes"].sizes(), {"accounts": 1, "calls": 0})

    def test_reload(self) -> None:
        """Another limit counts for the calls that are on, too, and what has been used stays used."""
        call = self.out(self.world.phone("100"), 60.0)
        minutes = self.world.service.generation.instances["minutes"]
        minutes.stopService()
        minutes.startService()
        self.world.run(55.0)
        self.assertEqual(call.state, "talking")
        self.world.run(6.0)
        self.assertEqual(call.state, "over")

    def test_at_once(self) -> None:
        """Of two calls at once each takes its own: together they last for half as long."""
        phone = self.world.phone("100")
        calls = [phone.dial("95551"), phone.dial("95552")]
        self.world.run(59.0)
        self.assertEqual([call.state for call in calls], ["talking", "talking"])
        self.world.run(2.0)
        self.assertEqual([call.state for call in calls], ["over", "over"])

    def test_own_limit(self) -> None:
        """An extension has a limit of its own, or none."""
        short, free = self.out(self.world.phone("101"), 1.0), self.out(self.world.phone("102"), 1.0)
        self.world.run(31.0)
        self.assertEqual((short.state, free.state), ("over", "talking"))
        self.world.run(300.0)
        self.assertEqual(free.state, "talking")

    def test_transferred_to_the_outside(self) -> None:
        """Who transfers a call of the house to the outside pays for it from then on."""
        one, other = self.world.phone("100"), self.world.phone("101")
        call, answered = self.connected(one, other)
        self.world.run(20.0)
        answered.refer("95551")
        self.world.run(20.0)
        self.assertEqual((call.state, self.used()), ("talking", {"100": 0.0, "101": 0.3}))
        self.world.run(15.0)
        self.assertEqual(call.state, "over")

    def test_within_the_house(self) -> None:
        """Calls within the house, and calls that come in, take none; they go on when there are none left."""
        phone, other = self.world.phone("100"), self.world.phone("101")
        self.out(phone, 121.0)
        other.answers_at_once = phone.answers_at_once = True
        inside = phone.dial("101")
        self.carrier.dial("100")
        self.world.run(200.0)
        self.assertEqual((inside.state, phone.incoming[0].state), ("talking", "talking"))
        self.assertEqual(self.used()["100"], 2.0)

    def test_tomorrow(self) -> None:
        """After midnight there are new ones."""
        phone = self.world.phone("100")
        self.out(phone, 121.0)
        self.world.run(24 * 3600.0)
        self.assertEqual(self.out(phone, 1.0).state, "talking")

    def test_restart(self) -> None:
        """What was used is kept."""
        self.out(self.world.phone("100"), 121.0)
        store = self.world.store
        self.make_world(CONFIGURATION, store=store)
        self.there(self.world)
        self.assertEqual(self.used()["100"], 2.0)
        self.assertEqual(self.out(self.world.phone("100", registers=False), 1.0).statuses[-1], 403)

    def test_explained(self) -> None:
        """`explain` says why a call would not go out."""
        self.out(self.world.phone("100"), 121.0)
        exchange = self.world.exchange
        call = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), "95551"))
        self.assertIn("the minutes of today are used up", str(call.trace.steps[-1]))
