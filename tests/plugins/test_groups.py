"""Ring groups: whom they ring, and in which order (REFERENCE §1 beside)."""

from __future__ import annotations

from pbx.api import Answer, Caller, Divert, Refuse, Ring
from tests.plugins.groups_base import TRUNK, GroupTests


class AllTests(GroupTests):
    """``strategy = "all"``."""

    def test_all_ring(self) -> None:
        """All members ring at once; who answers first talks, and the others are told that it was answered elsewhere (RFC 3326)."""
        self.group()
        call = self.call()
        self.assertEqual(self.ringing(), ["101", "102", "103"])
        self.last("102").answer()
        self.world.run(0.5)
        self.assertEqual((call.state, self.ringing()), ("talking", []))
        self.assert_talk(call, self.last("102"))
        for loser in ("101", "103"):
            self.assertIn("Call completed elsewhere", self.phone[loser].received("CANCEL")[0].first("reason"))

    def test_released_when_all_refuse(self) -> None:
        """Two refuse and the last goes on ringing; only when it refuses too is the caller released."""
        self.group()
        call = self.call()
        self.last("101").refuse(486)
        self.last("102").refuse(480)
        self.world.run(0.5)
        self.assertEqual((call.state, self.ringing()), ("calling", ["103"]))
        self.last("103").refuse(486)
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 480)

    def test_busy_when_all_are(self) -> None:
        """All members are busy: 486; with one that is not, it is not (above)."""
        self.group()
        for number in ("101", "102", "103"):
            self.phone[number].refuses_with = 486
        self.assertEqual(self.call().statuses[-1], 486)
        self.assertEqual(self.last_record().outcome, "busy")

    def test_busy_and_silent(self) -> None:
        """One is busy and the others do not answer in time: nobody answered, and that is not busy."""
        self.group("timeout = 5.0")
        self.phone["101"].refuses_with = 486
        call = self.call()
        self.world.run(5.5)
        self.assertEqual((call.statuses[-1], self.last_record().outcome), (480, "no answer"))

    def test_one_declines(self) -> None:
        """603 of one member ends its own ringing alone (RFC 3261 §16.7 has it end all: members do not speak for each other)."""
        self.group()
        call = self.call()
        self.last("101").refuse(603)
        self.world.run(0.5)
        self.assertEqual(self.ringing(), ["102", "103"])
        self.last("103").answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_all_decline(self) -> None:
        """All decline: the caller hears that."""
        self.group()
        for number in ("101", "102", "103"):
            self.phone[number].refuses_with = 603
        self.assertEqual(self.call().statuses[-1], 603)

    def test_time_is_over(self) -> None:
        """Nobody answers in ``timeout`` seconds: 480, and all stop ringing."""
        self.group("timeout = 7.0")
        call = self.call()
        self.world.run(6.0)
        self.assertEqual(len(self.ringing()), 3)
        self.world.run(1.0)
        self.assertEqual((call.statuses[-1], self.ringing(), self.last_record().outcome), (480, [], "no answer"))

    def test_caller_gives_up(self) -> None:
        """The caller gives up: all stop ringing."""
        self.group()
        call = self.call()
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.ringing(), [])

    def test_two_devices(self) -> None:
        """A member with two phones rings at both."""
        self.group()
        second = self.world.phone("102")
        self.call()
        self.assertEqual((len(second.incoming), self.ringing()), (1, ["101", "102", "103"]))

    def test_static_contact(self) -> None:
        """A member that is always rung at its contact takes part without having registered."""
        self.group('members = ["101", "104"]', '[extensions.104]\ncontact = "sip:door@198.51.100.99:5060"\n', phones=("100", "101"))
        door = self.world.phone("104", registers=False, address="198.51.100.99")
        self.call()
        self.assertEqual((len(door.incoming), self.ringing()), (1, ["101"]))

    def test_first_party_of_a_callback(self) -> None:
        """The exchange calls the group for somebody: who answers first waits for the second party, and then they talk."""
        self.group()
        self.world.exchange.originate("300", "104")
        self.world.run(0.5)
        self.assertEqual(self.ringing(), ["101", "102", "103"])
        self.last("103").answer()
        self.world.run(0.5)
        self.assertEqual(self.ringing(), ["104"])
        self.last("104").answer()
        self.world.run(0.5)
        self.assert_talk(self.last("103"), self.last("104"))

    def test_required_reliability(self) -> None:
        """A caller that wants provisional responses reliably (RFC 3262) has one dialog, whoever of the members rings or answers."""
        self.group()
        self.phone["100"].rel100 = "required"
        call = self.call()
        self.last("103").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("103"))
        self.assertEqual(len({response.to_tag for response in call.responses}), 1)

    def test_caller_from_outside(self) -> None:
        """A call that comes over a trunk to the group's number rings there."""
        self.group(more=TRUNK + 'incoming = "300"\n')
        carrier = self.world.phone("4930", registers=False, address="203.0.113.9")
        call = carrier.dial("555")
        self.world.run(0.5)
        self.last("101").answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")


class LeftOutTests(GroupTests):
    """Members that are not rung."""

    def test_unregistered(self) -> None:
        """Who has no phone there is passed over."""
        self.group(phones=("100", "102", "103"))
        self.call()
        self.assertEqual(self.ringing(), ["102", "103"])

    def test_nobody_is_there(self) -> None:
        """No member has a phone there: 480."""
        self.group(phones=("100",))
        self.assertEqual((self.call().statuses[-1], self.last_record().outcome), (480, "unreachable"))

    def test_full(self) -> None:
        """A member that has all the calls it may have (``max_calls``) is passed over."""
        self.group(more='[extensions.101]\npassword = "secret of 101"\nmax_calls = 1\n')
        self.call("101", "104")
        self.call()
        self.assertEqual((self.rung(), self.ringing()), ({"101": 1, "102": 1, "103": 1}, ["101", "102", "103"]))

    def test_wishes(self) -> None:
        """Who has forwarded its calls, wants none, or lets something else answer them is left out; the forward is not followed."""
        self.group(_101=Divert("104", "always"), _102=Refuse(480, "do not disturb"))
        self.call()
        self.assertEqual(self.rung(), {"103": 1})

    def test_answered_elsewhere(self) -> None:
        """A member whose calls an application answers is left out: it would answer before anybody could."""
        self.group(_101=Answer(object()))
        self.call()
        self.assertEqual(self.rung(), {"102": 1, "103": 1})

    def test_caller_is_a_member(self) -> None:
        """A member that calls its own group is not rung itself."""
        self.group()
        self.call(caller="101")
        self.assertEqual(self.rung(), {"102": 1, "103": 1})

    def test_diverter_is_a_member(self) -> None:
        """A member whose calls go on to the group when it is busy is not rung again."""
        self.group(after_101=Divert("300", "busy"))
        self.phone["101"].refuses_with = 486
        self.call("101")
        self.assertEqual(self.rung(), {"101": 1, "102": 1, "103": 1})

    def test_forwarded_in_a_circle(self) -> None:
        """Members forwarded to each other's groups are left out, and asking about them comes to an end."""
        self.group(
            more='[groups.301]\nmembers = ["102", "104"]\n',
            _101=Divert("301", "always"),
            _102=Divert("300", "always"),
        )
        self.call()
        self.assertEqual(self.rung(), {"103": 1})

    def test_forwarded_to_the_group(self) -> None:
        """A member forwarded to the group itself is left out."""
        self.group(_101=Divert("300", "always"))
        self.call()
        self.assertEqual(self.rung(), {"102": 1, "103": 1})


class InTurnTests(GroupTests):
    """``strategy = "in turn"`` and ``"rotate"``."""

    def test_in_turn(self) -> None:
        """One after another, each for ``timeout`` seconds, in the order of the file."""
        self.group('members = ["102", "101", "103"]\nstrategy = "in turn"\ntimeout = 5.0')
        call = self.call()
        for number in ("102", "101", "103"):
            self.assertEqual(self.ringing(), [number])
            self.world.run(5.0)
        self.assertEqual((self.ringing(), call.statuses[-1]), ([], 480))

    def test_busy_is_passed_over(self) -> None:
        """A busy member costs no time; the next one answers."""
        self.group('strategy = "in turn"')
        self.phone["101"].refuses_with = 486
        call = self.call()
        self.assertEqual(self.ringing(), ["102"])
        self.last("102").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("102"))
        self.assertEqual(self.rung(), {"101": 1, "102": 1})

    def test_devices_ring_together(self) -> None:
        """The phones of one member ring together."""
        self.group('strategy = "in turn"')
        second = self.world.phone("101")
        self.call()
        self.assertEqual((len(second.incoming), self.ringing()), (1, ["101"]))

    def test_rotate(self) -> None:
        """Each call begins behind the member that the last one began with, whoever has answered that."""
        self.group('strategy = "rotate"\ntimeout = 5.0')
        for first, second in (("101", "102"), ("102", "103"), ("103", "101"), ("101", "102")):
            call = self.call()
            self.assertEqual(self.ringing(), [first])
            self.world.run(5.0)
            self.assertEqual(self.ringing(), [second])
            call.hang_up()
            self.world.run(0.5)

    def test_rotate_while_it_rings(self) -> None:
        """Two calls at once begin with two members."""
        self.group('strategy = "rotate"')
        self.call()
        self.call(caller="104")
        self.assertEqual(self.rung(), {"101": 1, "102": 1})

    def test_rotate_past_one_that_is_away(self) -> None:
        """A call that passes over a member begins with the next one, and the call after that with the one behind."""
        self.group('strategy = "rotate"', phones=("100", "102", "103", "104"))
        self.call()
        self.call(caller="104")
        self.assertEqual(self.rung(), {"102": 1, "103": 1})

    def test_rotate_after_transfers(self) -> None:
        """A call that is transferred to the group counts as well."""
        self.group('members = ["102", "103"]\nstrategy = "rotate"')
        for member in ("102", "103"):
            self.call("101")
            self.last("101").answer()
            self.world.run(0.5)
            self.last("101").refer("300")
            self.world.run(0.5)
            self.assertEqual(self.ringing(), [member])
            self.last(member).answer()
            self.world.run(0.5)

    def test_rehearsals_do_not_count(self) -> None:
        """``explain`` asks as often as it likes: the next call begins where it would have begun."""
        self.group('strategy = "rotate"')
        exchange = self.world.exchange
        for _ in range(2):
            explained = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), "300"))
            self.assertIsInstance(explained.trace.steps[-1].verdict, Ring)
        self.call()
        self.assertEqual(self.ringing(), ["101"])
