"""Ring groups: whom they ring, in which order, and what comes when nobody answers (REFERENCE §1 beside, 3xx of a member)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from pbx.api import Answer, Call, Caller, Divert, ICallRouter, IOverflow, Kind, Outcome, Pass, Peer, Plugin, Refuse, Ring, Verdict
from pbx.config import ConfigurationError
from pbx.explain import explained
from pbx.sip.invite_session import State
from pbx.testing.world import World
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.reload import Change
    from pbx.testing.phone_call import PhoneCall

NUMBERS = ("100", "101", "102", "103", "104")
TRUNK = '\n[trunks.out]\naddress = "203.0.113.9"\nprefixes = ["9"]\nprobe = 0.0\n'


@implementer(ICallRouter, IOverflow)
class Wishes:
    """What members want of calls: a stand-in for a plugin that forwards, refuses, or takes messages."""

    def __init__(self, wishes: dict[str, Verdict]) -> None:
        self.wishes = wishes

    async def route(self, call: Call) -> Verdict:
        return self.wishes.get(f"_{call.called}", Pass())

    async def overflow(self, call: Call) -> Verdict:
        return self.wishes.get(f"after_{call.called}", Pass())


class GroupTests(FlowTests):
    """100 calls the group 300, whose members are 101, 102 and 103."""

    def group(self, settings: str = "", more: str = "", phones: tuple[str, ...] = NUMBERS, **wishes: Verdict) -> None:
        wanted = Wishes(wishes)
        members = "" if "members" in settings else 'members = ["101", "102", "103"]\n'
        self.make_world(
            f"[groups.300]\n{members}{settings}\n{more}",
            extensions=NUMBERS,
            plugins=(Plugin("wishes", None, lambda settings, pbx: wanted),),
        )
        self.phone = {number: self.world.phone(number) for number in phones}

    def call(self, number: str = "300", caller: str = "100") -> PhoneCall:
        call = self.phone[caller].dial(number)
        self.world.run(0.5)
        return call

    def rung(self) -> dict[str, int]:
        """How many calls have come to each phone."""
        return {number: len(phone.incoming) for number, phone in self.phone.items() if phone.incoming}

    def last(self, number: str) -> PhoneCall:
        return self.phone[number].incoming[-1]

    def ringing(self) -> list[str]:
        return [number for number, phone in self.phone.items() if phone.incoming and phone.incoming[-1].session.state is State.EARLY]

    def assert_talk(self, one: PhoneCall, other: PhoneCall) -> None:
        """Each hears what the other says."""
        for speaker, listener in ((one, other), (other, one)):
            before = len(listener.heard)
            speaker.say(2, b"hello" + bytes(155))
            self.world.run(0.2)
            self.assertEqual([data[12:17] for _, data, _ in listener.heard[before:]], [b"hello"] * 2)


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


class RedirectTests(GroupTests):
    """A member answers with 302."""

    def redirected(self, to: str, settings: str = "", more: str = "") -> PhoneCall:
        self.group(settings, more)
        call = self.call()
        self.last("101").refuse(302, f"Contact: <sip:{to}@{self.phone['101'].uri}>\r\n")
        self.world.run(0.5)
        return call

    def test_inside(self) -> None:
        """That fork alone goes on, with Diversion; the others ring on, and the caller hears of no 181."""
        call = self.redirected("104")
        self.assertEqual((self.ringing(), call.statuses), (["102", "103", "104"], [180]))
        self.assertIn("sip:101@", self.phone["104"].received("INVITE")[0].first("diversion"))
        self.last("104").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("104"))

    def test_outside_without_rights(self) -> None:
        """A member that may not dial out does not get a call there by 302; the others ring on."""
        call = self.redirected("95551", more=f"[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}")
        self.assertEqual((self.ringing(), call.state), (["102", "103"], "calling"))
        carrier = self.world.phone("out", registers=False, address="203.0.113.9")
        self.world.run(40.0)
        self.assertEqual((carrier.incoming, call.statuses[-1]), ([], 480))

    def test_outside_with_rights(self) -> None:
        """One that may dial out does, and nobody is charged but the one who redirects."""
        self.group(
            more=f'[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}[extensions.101]\npassword = "secret of 101"\nlevel = 1\n',
        )
        carrier = self.world.phone("out", registers=False, address="203.0.113.9")
        self.call()
        self.last("101").refuse(302, f"Contact: <sip:95551@{self.phone['101'].uri}>\r\n")
        self.world.run(0.5)
        self.assertEqual(len(carrier.incoming), 1)

    def test_to_the_group(self) -> None:
        """Back to the group, or to a member that rings already: nobody is rung twice."""
        for to in ("300", "102"):
            self.redirected(to)
            self.assertEqual(self.rung(), {"101": 1, "102": 1, "103": 1})

    def test_the_last_one(self) -> None:
        """All others have refused and the redirected one leads nowhere: the group is released."""
        call = self.redirected("999")
        self.last("102").refuse(486)
        self.last("103").refuse(486)
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 486)

    def test_in_turn(self) -> None:
        """In turn: the one that it redirects to has the rest of its time, then the next member is rung."""
        self.redirected("104", 'strategy = "in turn"\ntimeout = 10.0')
        self.assertEqual(self.ringing(), ["104"])
        self.world.run(10.0)
        self.assertEqual(self.ringing(), ["102"])


class OverflowTests(GroupTests):
    """``overflow``."""

    def overflown(self, more: str = "", to: str = "104", **refusals: int) -> PhoneCall:
        self.group(f'overflow = "{to}"\ntimeout = 5.0', more)
        for number, status in refusals.items():
            self.phone[number.removeprefix("_")].refuses_with = status
        call = self.call()
        self.world.run(5.0)
        return call

    def test_no_answer(self) -> None:
        """Nobody answers: the call goes on, with a 181 of the group and the reason in Diversion."""
        call = self.overflown()
        self.assertEqual((self.ringing(), call.statuses), (["104"], [180, 181, 180]))
        self.assertEqual(call.responses[1].first("call-info"), 'purpose=forwarding, username="300", contact="104"')
        self.assertIn("reason=no-answer", self.phone["104"].received("INVITE")[0].first("diversion"))
        self.last("104").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("104"))

    def test_busy(self) -> None:
        """All are busy: at once, and that is the reason."""
        self.overflown(_101=486, _102=486, _103=486)
        self.assertIn("reason=user-busy", self.phone["104"].received("INVITE")[0].first("diversion"))

    def test_nobody_there(self) -> None:
        """No member is registered: at once."""
        self.group('overflow = "104"', phones=("100", "104"))
        self.call()
        self.assertEqual(self.ringing(), ["104"])
        self.assertIn("reason=unavailable", self.phone["104"].received("INVITE")[0].first("diversion"))

    def test_overflow_fails_too(self) -> None:
        """The overflow is busy: the caller hears that."""
        self.assertEqual(self.overflown(_104=486).statuses[-1], 486)

    def test_outside(self) -> None:
        """Outside, with the level of the group and not of the caller."""
        call = self.overflown(f"level = 1\n[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}", to="95551")
        self.assertEqual((self.last_ring(), call.state), (["trunk out"], "calling"))

    def test_outside_without_rights(self) -> None:
        """A group whose level does not reach for it: 403, and nobody is rung out there."""
        call = self.overflown(f"[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}", to="95551")
        self.assertEqual(call.statuses[-1], 403)

    def last_ring(self) -> list[str]:
        (call,) = [one for one in self.world.exchange.calls.values() if not one.over]
        return [str(peer) for peer in call.ringing]

    def test_to_another_group(self) -> None:
        """From group to group, and never back."""
        call = self.overflown('[groups.301]\nmembers = ["104"]\noverflow = "300"\ntimeout = 5.0\n', to="301")
        self.assertEqual(self.ringing(), ["104"])
        self.world.run(5.0)
        self.assertEqual((self.rung(), call.statuses[-1]), ({"101": 1, "102": 1, "103": 1, "104": 1}, 480))


class ExplainTests(GroupTests):
    """``explain``."""

    def lines(self, outcome: Outcome | None = None) -> list[str]:
        exchange = self.world.exchange
        call = self.successResultOf(exchange.explain(Caller(Peer(Kind.EXTENSION, "100"), "100"), "300", outcome))
        return [line.strip().rpartition(" [")[0] or line.strip() for line in explained(call, rehearsed=True)]

    def line(self) -> str:
        return next(line for line in self.lines() if line.startswith("groups: "))

    def test_left_out(self) -> None:
        """Whom it rings, how, and why the others are left out."""
        self.group('strategy = "in turn"', phones=("100", "103", "104"), _102=Divert("104", "always"))
        self.assertEqual(
            self.line(),
            f"groups: rings extension 103 at {self.target('103')}, for 20 s, "
            "without 101 (not registered), 102 (forwarded to extension 104)",
        )

    def test_nobody(self) -> None:
        """That nobody is left, and why."""
        self.group('members = ["101", "102"]', phones=("100",), _102=Refuse(480, "do not disturb"))
        self.assertEqual(self.line(), "groups: finds nobody to ring, without 101 (not registered), 102 (do not disturb)")

    def test_overflow(self) -> None:
        """With an outcome it tells what comes after that."""
        self.group('overflow = "104"')
        self.assertIn("groups: diverts to 104, because: busy", self.lines(Outcome.BUSY))

    def test_chinese(self) -> None:
        """The same in Chinese."""
        self.make_world(
            'language = "zh"\n[groups.300]\nmembers = ["100", "101", "102"]\n[groups.301]\nmembers = ["102"]\n', extensions=NUMBERS
        )
        self.world.phone("101")
        exchange = self.world.exchange
        caller = Caller(Peer(Kind.EXTENSION, "100"), "100")
        told = ["\n".join(explained(self.successResultOf(exchange.explain(caller, number)), rehearsed=True)) for number in ("300", "301")]
        self.assertIn(",20 秒,不含 100(是主叫)、102(未注册)", told[0])
        self.assertIn("groups: 没有可振铃的分机,不含 102(未注册)", told[1])

    def target(self, number: str) -> str:
        (target,) = self.world.exchange.location.targets(number)
        return target.uri


class ShellTests(GroupTests):
    """``groups()``."""

    def row(self) -> dict[str, Any]:
        (row,) = self.world.service.generation.shell_commands()["groups"]()
        return dict(row)

    def test_groups(self) -> None:
        """Members, how they are rung, whether a call rings there, and who is next."""
        self.group('strategy = "rotate"\noverflow = "104"')
        self.assertEqual(
            self.row(),
            {
                "number": "300",
                "members": ["101", "102", "103"],
                "strategy": "rotate",
                "timeout": 20.0,
                "overflow": "104",
                "ringing": 0,
                "next": "101",
            },
        )
        self.call()
        self.assertEqual((self.row()["ringing"], self.row()["next"]), (1, "102"))


class ReloadTests(GroupTests):
    """The group is changed while it rings."""

    def reload(self, settings: str) -> Change:
        text = f'[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n[groups.300]\n{settings}\n'
        text += "".join(f'[extensions.{number}]\npassword = "secret of {number}"\n' for number in NUMBERS)
        file = Path(self.mktemp())
        file.write_text(text)
        service = self.world.service
        service.loaded = replace(service.loaded, path=file.absolute())
        change: Change = self.successResultOf(Deferred.fromCoroutine(service.reloads.configuration()))
        return change

    def test_changed(self) -> None:
        """The call that rings keeps its members, and its overflow; the next one rings the new members."""
        self.make_world('[groups.300]\nmembers = ["101", "102"]\ntimeout = 5.0\noverflow = "100"\n', extensions=NUMBERS)
        self.phone = {number: self.world.phone(number) for number in NUMBERS}
        call = self.call(caller="104")
        self.assertIn("1 group changed", str(self.reload('members = ["103"]')))
        self.assertEqual(self.ringing(), ["101", "102"])
        self.world.run(5.0)
        self.assertEqual(self.ringing(), ["100"])
        call.hang_up()
        self.world.run(0.5)
        self.call()
        self.assertEqual(self.ringing(), ["103"])

    def test_removed(self) -> None:
        """The group is gone: who answers talks all the same."""
        self.make_world('[groups.300]\nmembers = ["101", "102"]\n[groups.301]\nmembers = ["101"]\n', extensions=NUMBERS)
        self.phone = {number: self.world.phone(number) for number in NUMBERS}
        call = self.call("301")
        self.reload('members = ["101"]')
        self.last("101").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("101"))


class BadSettingTests(FlowTests):
    """What is refused at the start, and why."""

    def reason(self, text: str, extensions: tuple[str, ...] = ("101", "102")) -> str:
        try:
            World(text, extensions=extensions)
        except (ConfigurationError, SystemExit) as refused:  # by the file alone, or once the plugins are there
            return str(refused)
        raise AssertionError("it starts")

    def test_members(self) -> None:
        """A group has members: none, twice the same, a group."""
        reason = self.reason(
            '[groups.300]\nmembers = []\n[groups.301]\nmembers = ["101", "101"]\n[groups.302]\n[groups.303]\nmembers = ["304", "303"]\n'
            '[groups.304]\nmembers = ["101"]\n'
        )
        self.assertIn("groups.300.members", reason)
        self.assertIn("a group without members rings nobody", reason)
        self.assertIn("'101' stands there twice", reason)
        self.assertIn("groups.302.members", reason)
        self.assertIn("304 is a group, and members are extensions", reason)
        self.assertIn("303 is the group itself, and members are extensions", reason)

    def test_unknown_numbers(self) -> None:
        """Members that do not exist, and an overflow that does not, each with its place."""
        reason = self.reason('[groups.300]\nmembers = ["101", "199"]\noverflow = "555"\n')
        self.assertIn('groups.300.members = "199": there is no such number', reason)
        self.assertIn('groups.300.overflow = "555": there is no such number', reason)

    def test_overflow_outside(self) -> None:
        """A number that a trunk has a prefix for is an overflow like any other; one that none has is none."""
        World(f'[groups.300]\nmembers = ["101"]\noverflow = "95551"\n{TRUNK}')
        self.assertIn("begins with the prefix of a line", self.reason(f'[groups.300]\nmembers = ["101"]\noverflow = "85551"\n{TRUNK}'))

    def test_overflow_to_itself(self) -> None:
        """A group that overflows to itself."""
        self.assertIn("the group itself", self.reason('[groups.300]\nmembers = ["101"]\noverflow = "300"\n'))

    def test_number_of_an_extension(self) -> None:
        """A number is an extension's or a group's."""
        self.assertIn("101: an extension has this number too", self.reason('[groups.101]\nmembers = ["102"]\n'))

    def test_values(self) -> None:
        """A strategy and a time that do not exist."""
        reason = self.reason('[groups.300]\nmembers = ["101"]\nstrategy = "random"\ntimeout = 0.0\n')
        self.assertIn("groups.300.strategy", reason)
        self.assertIn("groups.300.timeout", reason)
