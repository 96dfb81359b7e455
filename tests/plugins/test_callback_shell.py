"""Callbacks at the prompt of the shell, and across a reload."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from pbx.api import Fault, OperationError
from pbx.call.verdict import Pass
from pbx.testing.world import World
from tests.flows.base import SETTLED, FlowTests
from tests.plugins.application_server import CONFIGURATION, ApplicationServer
from tests.shell.base import Operator, ShellTestCase


class CommandTests(ShellTestCase):
    """`call_back`, `callback`, `cancel_callback`, `callbacks`."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.hang_up)
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")

    def hang_up(self) -> None:
        """No call is left behind."""
        for call in list(self.world.exchange.calls.values()):
            call.hang_up()
        self.world.run(SETTLED)

    def refused(self, text: str) -> str:
        """The sentence with which a command ends that cannot be done."""
        return str(self.failureResultOf(self.operator.run(text)).value)

    def assert_fault(self, name: str, fault: Fault, field: str, *arguments: str, **named: str) -> None:
        """A command says why it was not carried out, for programs."""
        error = self.assertRaises(OperationError, getattr(self.operator, name), *arguments, **named)
        self.assertEqual((error.fault, error.field), (fault, field))

    def test_faults(self) -> None:
        """What is unknown, wrong, forbidden or too much is told apart."""
        self.assert_fault("callback", Fault.UNKNOWN, "id", "x")
        self.assert_fault("cancel_callback", Fault.UNKNOWN, "id", "x")
        self.assert_fault("call_back", Fault.WRONG, "called2", "100", "")
        self.world.exchange.rules = replace(self.world.exchange.rules, levels={"1": 10})
        self.world.exchange.use(self.world.exchange.services)
        self.assert_fault("call_back", Fault.FORBIDDEN, "", "100", "101")
        self.world.service.b2bua.refusing = "overloaded"
        self.assert_fault("call_back", Fault.OVERLOADED, "", "100", "101")

    def test_whole_callback(self) -> None:
        """Begun, looked at on the way, and ended; for programs as JSON."""
        answer = json.loads(self.printed("call_back('100', '101', caller1='2001', maxduration=60, id='x1').json()"))
        self.assertEqual((answer["id"], answer["state"], answer["result"]), ("x1", "user 1 rings", None))
        self.world.run(0.5)
        self.alice.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(self.operator.callback("x1").json()["state"], "user 2 rings")
        self.bob.incoming[0].answer()
        self.world.run(3.2)
        self.assertEqual(self.operator.callback("x1").json()["state"], "joined")
        self.alice.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(
            self.operator.callback("x1").json(),
            {
                "id": "x1", "state": "over", "called1": "100", "called2": "101", "caller1": "2001", "caller2": "100", "maxduration": 60,
                "server": "", "call_id": "w-1", "result": 0, "duration": 3, "starttime": "20270115T080002Z", "cause": 16,
            },
        )  # fmt: skip
        self.assertIn("BYE", self.printed("ladder('w-1')"))

    def test_id_made(self) -> None:
        """Without an id one is made, each time another."""
        made = {self.operator.call_back(102, 101).json()["id"] for _ in range(3)}
        self.assertEqual(len(made), 3)

    def test_same_id(self) -> None:
        """The same again starts nothing; with other parameters it is refused."""
        for _ in range(2):
            self.assertEqual(self.operator.call_back("100", "101", id="x").json()["state"], "user 1 rings")
        self.assert_fault("call_back", Fault.CONFLICT, "id", "100", "102", id="x")
        self.world.run(0.5)
        self.assertEqual(len(self.alice.incoming), 1)

    def test_cancel(self) -> None:
        """Both are released."""
        self.operator.call_back("100", "101", id="x")
        self.world.run(0.5)
        self.assertEqual(self.operator.cancel_callback("x").json()["result"], 30)
        self.world.run(0.5)
        self.assertEqual(self.alice.incoming[0].state, "over")

    def test_table(self) -> None:
        """All of them, and what was dropped."""
        self.assertRegex(self.printed("callbacks()"), r"(?m)^callbacks(:$| +-$)")
        self.operator.call_back("100", "101", id="x")
        self.operator.call_back("102", "101", id="y")
        shown = self.printed("callbacks()")
        self.assertRegex(shown, r"(?m)^    id +state ")
        self.assertRegex(shown, r"(?m)^    x +user 1 rings ")
        self.assertRegex(shown, r"(?m)^    y +over ")
        value = self.operator.callbacks().json()
        self.assertEqual((value["port"], value["live"], value["remembered"], len(value["callbacks"])), (5080, 1, 1, 2))
        self.assertEqual(self.operator.sizes().json()["standing"]["callback.live"], 1)

    def test_sentences(self) -> None:
        """What cannot be done is told in one."""
        for typed, told in (
            ("callback('x')", "there is no callback 'x'; callbacks() lists those of the last minute"),
            ("cancel_callback('x')", "there is no callback 'x'; callbacks() lists those of the last minute"),
            ("call_back('', '1')", "called1: '' does not do; write numbers and names in quotes, as in \"100\""),
            ("call_back('1', None)", 'called2: None does not do; write numbers and names in quotes, as in "100"'),
            ("call_back('1', 'a\\nb')", "called2: at most 64 characters, all of them printable"),
            ("call_back('1', '2', maxduration=-1)", "maxduration: a whole number of seconds, 0 for no limit, not -1"),
            ("call_back('1', '2', id='x' * 65)", "id: at most 64 characters, all of them printable"),
        ):
            self.assertEqual(self.refused(typed), told)


class SlowRouterTests(FlowTests):
    """A router that has to wait before it knows where a number goes."""

    def setUp(self) -> None:
        self.make_world(CONFIGURATION)
        self.alice = self.world.phone("100")
        self.server = ApplicationServer(self.world)
        self.waiting: list[Deferred[Pass]] = []
        exchange = self.world.exchange
        services = exchange.services
        exchange.use(replace(services, routers=[("slow", self), *services.routers]))

    async def route(self, call: Any) -> Pass:
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def decide(self) -> None:
        """Let all pass that has come so far."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(Pass())
        self.world.run(0.1)

    def ask(self) -> None:
        self.server.send("REQUEST: id=1, called1=100, called2=101")

    def test_acknowledged_late(self) -> None:
        """The ACK waits for the dial plan; a REQUEST repeated in the meantime does not ask again."""
        self.ask()
        self.ask()
        self.assertEqual((self.server.heard, len(self.waiting)), ([], 1))
        self.decide()
        self.decide()
        self.assertEqual(self.server.heard, ["ACK: id=1, result=0"])
        self.decide()
        self.assertEqual(len(self.alice.incoming), 1)

    def test_cancelled_meanwhile(self) -> None:
        """Nobody is rung, and both ACK and RESPONSE come."""
        self.ask()
        self.server.send("CANCEL: id=1")
        self.decide()
        self.decide()
        self.assertEqual(self.server.heard, ["ACK: id=1, result=0", "RESPONSE: id=1, result=30, duration=0, cause=16"])
        self.assertEqual(self.alice.incoming, [])

    def test_waits_for_ever(self) -> None:
        """The patience of the routing ends it; the callback is accepted, and fails for the exchange's fault."""
        self.ask()
        self.world.run(20.0)
        self.assertEqual(self.server.heard, ["ACK: id=1, result=0", "RESPONSE: id=1, result=40, duration=0, cause=102"])


class ReloadTests(FlowTests):
    """``[callback]`` changes while a callback is on its way."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.make_world(CONFIGURATION)
        self.operator = Operator(self.world, folder)
        self.addCleanup(self.operator.traces.stop)
        self.file = folder / "pbx.toml"
        service = self.world.service
        service.loaded = replace(service.loaded, path=self.file.absolute())
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        self.server = ApplicationServer(self.world)
        self.server.send("REQUEST: id=old, called1=100, called2=101, note=x")

    def write(self, more: str) -> None:
        """The file has ``more`` in ``[callback]``."""
        head = '[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n'
        numbers = "".join(f'[extensions.{number}]\npassword = "secret of {number}"\n' for number in ("100", "101", "102"))
        self.file.write_text(f"{head}{numbers}{CONFIGURATION}{more}\n")

    def reload(self, more: str) -> str:
        """Put it into force; what is said."""
        self.write(more)
        return str(self.successResultOf(maybeDeferred(self.operator.reload)))

    def test_live_callback(self) -> None:
        """It goes on, and its RESPONSE comes from the new port's hand; its id is still known."""
        self.assertIn("callback changed", self.reload("level = 4"))
        self.server.send("REQUEST: id=old, called1=100, called2=101, note=x")
        for phone in (self.alice, self.bob):
            phone.incoming[0].answer()
            self.world.run(0.5)
        self.bob.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(self.server.heard[:2], ["ACK: id=old, result=0"] * 2)
        self.assertTrue(self.server.heard[2].startswith("RESPONSE: id=old, result=0, duration=1, "), self.server.heard)
        self.world.run(61.0)
        self.assertEqual(self.operator.callbacks().json()["callbacks"], [])

    def test_cancel_after_a_reload(self) -> None:
        """It can be cancelled."""
        self.reload("level = 4")
        self.server.send("CANCEL: id=old")
        self.world.run(0.5)
        self.assertEqual((self.alice.incoming[0].state, len(self.server.heard)), ("over", 2))

    def test_unacknowledged(self) -> None:
        """A RESPONSE that nobody has acknowledged yet is repeated by the new one too."""
        self.server.acknowledges = False
        self.reload("response_retries = 2")
        self.alice.incoming[0].refuse(486)
        self.world.run(0.5)
        self.reload("response_retries = 3")
        self.world.run(60.0)
        self.assertEqual(len(self.server.heard), 1 + 1 + 4)

    def test_port_is_taken(self) -> None:
        """A port that somebody else has: the old one goes on."""
        self.world.network.udp("192.0.2.1", 6000)
        self.write("port = 6000")
        failure = self.failureResultOf(maybeDeferred(self.operator.reload))
        self.assertIn("callback does not start", str(failure.value))
        self.server.send("CANCEL: id=old")
        self.assertEqual(len(self.server.heard), 2)

    def test_off(self) -> None:
        """``port = 0`` closes it; what is under way goes on without it."""
        self.reload("port = 0")
        self.server.send("CANCEL: id=old")
        self.assertEqual((len(self.server.heard), self.alice.incoming[0].state), (1, "calling"))
        self.operator.cancel_callback("old")
        self.world.run(0.5)
        self.assertEqual(self.alice.incoming[0].state, "over")


class StartTests(SynchronousTestCase):
    """The port at the start."""

    def test_taken(self) -> None:
        """A port that somebody else has stops the start with a sentence that names the table."""
        error = self.assertRaises(SystemExit, World, '[callback]\nport = 5060\ninterface = "192.0.2.1"\n')
        self.assertIn("callback cannot listen on port 5060 of 192.0.2.1", str(error))
        self.assertIn("[callback]", str(error))
