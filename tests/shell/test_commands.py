"""The commands, as an operator uses them."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from pbx.interfaces import IShellCommands, OperationError
from pbx.plugin import Plugin
from pbx.testing.world import World

from .base import Operator, ShellTestCase


class CallTests(ShellTestCase):
    """Calls."""

    def test_calls(self) -> None:
        """A live call has its row, and its legs, media and routing behind ``call``."""
        call_id = self.talk()
        self.assertEqual(
            self.operator.calls().json(),
            [{"id": call_id, "caller": "100", "dialled": "101", "called": "101", "phase": "talking", "seconds": 1.0, "legs": 2}],
        )
        details = self.operator.call(call_id).json()
        self.assertEqual([leg["peer"] for leg in details["legs"]], ["extension 100", "extension 101"])
        self.assertEqual([row["kind"] for row in details["media"]], ["audio", "audio"])
        self.assertIn("extensions: rings extension 101 at sip:101@", repr(self.operator.call(call_id)))

    def test_hang_up(self) -> None:
        """The operator ends a call; it is still known, with who ended it."""
        call_id = self.talk()
        self.assertEqual(repr(self.operator.hang_up(call_id)), f"call {call_id} is hung up")
        self.world.run(1.0)
        self.assertEqual((self.alice_call.state, len(self.operator.calls())), ("over", 0))
        details = self.operator.call(call_id).json()
        self.assertEqual((details["phase"], details["reason"]), ("over", "hung up by the operator (admin@192.0.2.9)"))

    def test_dial(self) -> None:
        """The first party is rung, then the second for it."""
        alice, bob = self.world.phone("100"), self.world.phone("101")
        call_id = self.operator.dial("100", "101").json()["call_id"]
        self.world.run(0.5)
        alice.incoming[0].answer()
        self.world.run(0.5)
        bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(self.operator.call(call_id).json()["phase"], "talking")

    def test_records(self) -> None:
        """The last calls come from the store: a line each on the screen, all of it as JSON."""
        call_id = self.talk()
        self.operator.hang_up(call_id)
        self.world.run(1.0)
        records = self.operator.records(5)
        self.assertEqual(records.json()[0]["call_id"], call_id)
        self.assertEqual(records[0]["outcome"], "answered")

    def test_ladder(self) -> None:
        """Every message of both legs, in time, the exchange between the parties."""
        call_id = self.talk()
        ladder = self.operator.ladder(call_id)
        lines = repr(ladder).split("\n")
        self.assertIn("extension 100       exchange            extension 101", lines[0])
        self.assertIn("0.000  |-- INVITE (SDP) -->|                   |", lines[2])
        self.assertIn("1.000  |                   |------ ACK ------->|", repr(ladder))
        self.assertEqual(ladder.json()["messages"][0], {"seconds": 0.0, "party": "extension 100", "sent": False, "message": "INVITE (SDP)"})
        self.operator.hang_up(call_id)
        self.world.run(1.0)
        self.assertIn("BYE", repr(self.operator.ladder(call_id)))


class RegistrationTests(ShellTestCase):
    """Registrations, and the guard."""

    def test_registrations(self) -> None:
        """Who is registered, where, and for how long."""
        self.world.phone("100")
        row = self.operator.registrations()[0]
        self.assertEqual((row["number"], row["address"], row["transport"], row["reachable"]), ("100", "198.51.100.1:5060", "UDP", True))

    def test_unregister(self) -> None:
        """The operator forgets a number's devices."""
        self.world.phone("100")
        self.assertEqual(self.operator.unregister("100").json(), {"number": "100", "devices": 1})
        self.assertEqual(len(self.operator.registrations()), 0)

    def test_bans(self) -> None:
        """A ban is listed, and lifted."""
        self.world.service.guard.ban("203.0.113.7", self.world.clock.seconds())
        self.assertEqual(self.operator.bans().json(), [{"address": "203.0.113.7", "seconds_left": 3600, "failed_proofs": 0}])
        self.operator.lift("203.0.113.7")
        self.assertEqual(self.operator.bans().json(), [])


class ExplainTests(ShellTestCase):
    """The dial plan without ringing anybody."""

    def test_rings(self) -> None:
        """Each verdict, and nobody's phone rings."""
        bob = self.world.phone("101")
        explained = self.operator.explain("100", "101")
        *before, last = [step["verdict"] for step in explained.json()["trace"]]
        self.assertEqual((set(before), last), ({"pass"}, "ring"))
        self.world.run(1.0)
        self.assertEqual(bob.incoming, [])

    def test_unknown_number(self) -> None:
        """Nobody's verdict is told as well."""
        self.assertEqual(self.operator.explain("100", "999").json()["words"][-1], "Nobody knows the number 999: the caller hears 404.")

    def test_outcome(self) -> None:
        """With an outcome the attempt is taken to end so."""
        self.world.phone("101")
        for text in ("busy", "no answer", "NO_ANSWER"):
            last = self.operator.explain("100", "101", text).json()["words"][-1]
            self.assertIn("the caller hears how the attempt ended", last)
        self.assertIn("'no answer'", str(self.assertRaises(OperationError, self.operator.explain, "100", "101", "nothing")))


class ChineseExplainTests(ShellTestCase):
    """In the language of the exchange."""

    configuration = 'language = "zh"'

    def test_chinese(self) -> None:
        """An exchange that speaks Chinese explains in Chinese."""
        words = self.operator.explain("100", "999").json()["words"]
        self.assertEqual((words[0], words[-1]), ("100 拨打 999。", "没有人知道号码 999:主叫收到 404。"))


class OverviewTests(ShellTestCase):
    """Settings, plugins, sizes."""

    configuration = '[extensions.100]\npassword = "very secret"\ndisplay = "接待处"\n[shell]\nlisten = ""'

    def test_settings(self) -> None:
        """All of the configuration, and no secret of it."""
        settings = self.operator.settings()
        self.assertEqual(settings.json()["extensions"]["100"]["password"], "***")
        self.assertEqual(settings.json()["sip"]["caps"]["vias"], 70)
        for password in ("very secret", "secret of"):
            self.assertNotIn(password, json.dumps(settings.json()) + repr(settings))
        self.assertEqual(self.operator.settings("extensions").json()["100"]["display"], "接待处")
        self.assertEqual(self.operator.settings("language").json(), "en")

    def test_plugins(self) -> None:
        """In the order in which they are asked."""
        rows = self.operator.plugins().json()
        self.assertEqual([row["name"] for row in rows], list(self.world.loaded.order))
        self.assertIn("ICallRouter", rows[0]["provides"])

    def test_help(self) -> None:
        """Every command with what it does; a command that is not called shows how it is."""
        self.assertIn(
            {"command": "dial(a, b)", "does": "Ring a; when it answers, ring b for it and join them."}, self.operator.help().json()
        )
        self.assertEqual(repr(self.operator.hang_up), "hang_up(id): End a call.")


class SizesTests(ShellTestCase):
    """REFERENCE §0: ``sizes()``."""

    names = ("calls", "legs", "dialogs", "call_transactions", "call_timers", "media_ports")

    def test_zero_after_the_last_call(self) -> None:
        """What belongs to calls stands above, is counted during a call, and is zero 64*T1 after it; the rest is standing."""
        call_id = self.talk()
        sizes = self.operator.sizes().json()
        self.assertEqual(tuple(sizes), (*self.names, "standing"))
        self.assertEqual((sizes["calls"], sizes["legs"], sizes["dialogs"], sizes["media_ports"]), (1, 2, 2, 4))
        self.assertEqual(sizes["standing"]["bindings"], 2)
        self.operator.hang_up(call_id)
        self.world.run(40.0)
        after = self.operator.sizes().json()
        self.assertEqual([after[name] for name in self.names], [0] * 6)
        self.assertEqual((after["standing"]["recent_calls"], after["standing"]["bindings"]), (1, 2))


class WrongTests(ShellTestCase):
    """A wrong argument gets a sentence."""

    def test_sentences(self) -> None:
        """Each says what was wrong and what to do."""
        for typed, told in (
            ("calls(1)", "calls: too many positional arguments; it is called so: calls()"),
            ("hang_up()", "hang_up: missing a required argument: 'id'; it is called so: hang_up(id)"),
            ("hang_up('w-9')", "there are no calls"),
            ("explain('7', '101')", "nobody here has the number '7'; there are 100, 101, 102"),
            ("lift('192.0.2.77')", "192.0.2.77 is not banned; bans() lists who is"),
            ("unregister('100')", "nobody is registered for 100; registrations() lists who is"),
            ("records(0)", "records: how many? a whole number from 1 to 100000, not 0"),
            ("settings('sipp')", "there is no table 'sipp'; did you mean 'sip'?"),
            ("dial('', '1')", "dial: '' does not do; write numbers and names in quotes, as in \"100\""),
            ("trace('101', 'x.exe')", "a trace goes into a file that ends in .pcap or .txt, not into 'x.exe'"),
            ("trace('101', off=True)", "there is no trace of 101; trace() lists them"),
            ("call()", "call: missing a required argument: 'id'; it is called so: call(id)"),
            ("registratons()", "there is no registratons; did you mean registrations?"),
            (
                "reload('nobody')",
                (
                    "no plugin 'nobody' is running; "
                    "there are blocklist, callback, echo, extensions, forwarding, groups, limits, lines, minutes, pickup, trunks"
                ),
            ),
            ("1 +", "this is no Python at column 4: invalid syntax; help() lists the commands"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
        ):
            self.assertEqual(self.refused(typed), told)

    def test_whole_numbers(self) -> None:
        """A number without its quotes is understood."""
        self.world.phone("100")
        self.assertEqual(self.operator.unregister(100).json(), {"number": "100", "devices": 1})

    def test_broken_command(self) -> None:
        """What breaks in the exchange is logged in full, and told in a sentence."""
        self.world.service.store.records = lambda n: 1 // 0
        self.assertEqual(
            self.refused("records()"), "records broke: ZeroDivisionError: integer division or modulo by zero; the log has all of it"
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RunTests(ShellTestCase):
    """``ssh host 'text'``."""

    def test_json(self) -> None:
        """Plain data is printed as JSON."""
        self.assertEqual(json.loads(self.printed("sizes().json()"))["calls"], 0)
        self.assertEqual(json.loads(self.printed("records(3).json()")), [])

    def test_text(self) -> None:
        """An answer is printed as the prompt prints it; None is not printed."""
        self.assertEqual(self.printed("calls()"), "no calls\n")
        self.assertEqual(self.printed("None"), "")

    def test_statements(self) -> None:
        """Statements run too, and what they print comes."""
        self.assertEqual(self.printed("for name in ('a', 'b'):\n    print(name)"), "a\nb\n")

    def test_exit(self) -> None:
        """``exit()`` ends nothing but the session."""
        self.assertEqual(self.printed("exit()"), "")


@implementer(IShellCommands)
class Weather:
    """A plugin that adds commands."""

    def __init__(self, settings: Any, pbx: Any) -> None:
        self.waited_for: Deferred[str] = Deferred()

    def shell_commands(self) -> dict[str, Any]:
        return {"weather": self.weather, "forecast": self.forecast, "calls": self.weather}

    def weather(self, town: str = "here") -> list[dict[str, Any]]:
        """The weather in a town."""
        return [{"town": town, "degrees": 21}]

    async def forecast(self) -> str:
        """The weather of tomorrow, once it is known."""
        return await self.waited_for


class PluginCommandTests(ShellTestCase):
    """`IShellCommands`."""

    def setUp(self) -> None:
        super().setUp()
        plugin = Plugin("echo", None, Weather)
        self.world = World(instead={"echo": plugin})
        self.operator = Operator(self.world, self.folder)

    def test_added(self) -> None:
        """A plugin's command stands among the others, with its help, as a table and as JSON."""
        self.assertEqual(self.printed("weather('Bern')"), "town  degrees\nBern       21\n")
        self.assertEqual(json.loads(self.printed("weather().json()")), [{"town": "here", "degrees": 21}])
        self.assertIn({"command": "weather(town='here')", "does": "The weather in a town."}, self.operator.help().json())

    def test_own_come_first(self) -> None:
        """A plugin cannot take the place of a command of the shell."""
        self.assertEqual(self.printed("calls()"), "no calls\n")

    def test_waits(self) -> None:
        """A command may be a coroutine; what it gives is shown when it is there."""
        printed = self.operator.run("forecast()")
        self.assertNoResult(printed)
        self.world.service.generation.instances["echo"].waited_for.callback("sun")
        self.assertEqual(self.successResultOf(printed), "sun\n")
