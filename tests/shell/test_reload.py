"""``reload()`` and ``reload(name)``, and SIGHUP."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.call.verdict import Pass
from pbx.config import load
from pbx.interfaces import ICallRouter
from pbx.plugin import Plugin
from pbx.reload import PATIENCE, OnHangUp
from pbx.testing.world import World

from .base import ShellTestCase

BASE = '[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n'


def extension(number: str, more: str = "") -> str:
    return f'[extensions.{number}]\npassword = "secret of {number}"\n{more}\n'


class ReloadTestCase(ShellTestCase):
    """A world whose configuration is a file."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.folder / "pbx.toml"
        self.write()
        service = self.world.service
        service.loaded = replace(service.loaded, path=self.file.absolute())

    def write(self, *numbers: str, more: str = "", base: str = BASE) -> None:
        """The file has these extensions."""
        self.file.write_text(base + "".join(extension(number) for number in numbers or ("100", "101", "102")) + more)


class ConfigurationTests(ReloadTestCase):
    """``reload()``."""

    def test_nothing(self) -> None:
        """An unchanged file changes nothing, and no plugin is made anew."""
        before = dict(self.world.service.generation.instances)
        self.assertEqual(self.printed("reload()"), "nothing has changed, 0 live calls keep what they have\n")
        self.assertEqual(self.world.service.generation.instances, before)

    def test_changed(self) -> None:
        """What has changed is counted; new calls meet the new plan, live ones keep what they have."""
        self.talk()
        self.write("100", "101", "103", more='[echo]\nnumber = "700"\n')
        told = self.printed("reload()")
        self.assertEqual(told, "echo changed, 1 extension added, 1 extension removed, 1 live call keeps what it has\n")
        self.assertEqual(self.alice_call.state, "talking")
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "103"])
        self.assertEqual(self.operator.explain("100", "700").json()["trace"][-1]["verdict"], "answer")
        self.assertEqual(self.world.phone("103").registered, 200)

    def test_bad_file(self) -> None:
        """A bad file changes nothing, and every mistake is told."""
        before = self.world.service.generation
        self.write("100", more='[sipp]\n[media]\nfirst_port = "x"\n')
        told = self.refused("reload()")
        self.assertIn("sipp: no such table", told)
        self.assertIn("first_port", told)
        self.assertIs(self.world.service.generation, before)
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "102"])

    def test_waits_for_the_next_start(self) -> None:
        """What is bound to sockets does not change in a running server, and that is said, until it is so."""
        self.write(more="[media]\nsilence_timeout = 7.0\n")
        for _ in range(2):
            self.assertEqual(self.printed("reload()"), "[media] will change at the next start, 0 live calls keep what they have\n")
        self.assertEqual(self.world.service.loaded.configuration.media.silence_timeout, 60.0)

    def test_guard(self) -> None:
        """Who is slowed and banned is decided anew at once: under attack nobody wants to restart."""
        service = self.world.service
        service.guard.ban("198.51.100.99", service.driver.now())
        self.write(more='[guard]\nrate = 7.0\nexempt = ["198.51.100.99"]\n')
        self.assertEqual(self.printed("reload()"), "guard changed, 0 live calls keep what they have\n")
        self.assertEqual(self.printed("bans().json()"), "[]\n")

    def test_dns(self) -> None:
        """Other DNS servers are asked at once, by `check_dns` too."""
        self.write(more='[dns]\nservers = ["192.0.2.53"]\ntimeout = 1.0\n')
        self.assertEqual(self.printed("reload()"), "dns changed, 0 live calls keep what they have\n")
        self.assertEqual(self.world.names.configured, ([("192.0.2.53", 53)], 1.0))
        self.assertEqual(self.world.service.loaded.configuration.dns.timeout, 1.0)

    def test_dns_unchanged(self) -> None:
        """What is remembered of names is not thrown away by a reload that is about something else: DNS may be dead just now."""
        self.write("100")
        self.printed("reload()")
        self.assertIsNone(self.world.names.configured)

    def test_certificates(self) -> None:
        """Certificates that were renewed are read; ones that cannot be used refuse the reload."""
        transports = self.world.service.transports
        transports.renewed = True
        self.assertEqual(self.printed("reload()"), "certificates renewed, 0 live calls keep what they have\n")
        transports.broken = "key.pem: a PEM key is wanted"
        self.write("100")
        self.assertIn("key.pem: a PEM key is wanted", self.refused("reload()"))
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "102"])

    def test_routing(self) -> None:
        """Order, patience and ring timeout are taken over."""
        self.write(more='[routing]\nring_timeout = 7.0\norder = ["extensions", "*"]\n')
        self.assertIn("routing changed", self.printed("reload()"))
        self.assertEqual(self.world.exchange.rules.ring_timeout, 7.0)
        self.assertEqual(next(iter(self.world.service.generation.instances)), "extensions")

    def test_language(self) -> None:
        """The language changes for all that has one."""
        self.file.write_text('language = "zh"\n' + self.file.read_text())
        self.printed("reload()")
        self.assertIn("谁知道", self.printed("explain('100', '101')"))

    def test_password_made(self) -> None:
        """A password that was made is shown to the one who reloads."""
        self.write(more="[extensions.105]\n")
        self.patch(self.world.service.secrets, "password", lambda name: ("made just now", True))
        self.assertIn("extension 105: password made just now", self.printed("reload()"))

    def test_json(self) -> None:
        """For programs."""
        self.write("100", "101")
        self.assertIn('"changes": ["1 extension removed"]', self.printed("reload().json()"))

    def test_not_running(self) -> None:
        """A server that stops reloads nothing."""
        self.world.service.running = False
        self.assertEqual(self.refused("reload()"), "the server does not run")


@implementer(ICallRouter)
class Clockwork(Service):
    """A plugin that runs something; what it does is noted in ``events``."""

    events: list[str]
    name = "old"

    def __init__(self, settings: Any, pbx: Any) -> None:
        self.stopping: Any = None

    async def route(self, call: Any) -> Pass:
        return Pass()

    def startService(self) -> None:
        super().startService()
        self.events.append(f"{self.name} starts")

    def stopService(self) -> Any:
        super().stopService()
        self.events.append(f"{self.name} stops")
        return self.stopping


class RunningTests(ReloadTestCase):
    """A plugin that is an ``IService``."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[str] = []
        service = self.world.service
        self.old = type("Old", (Clockwork,), {"events": self.events})(None, None)
        self.old.startService()
        service.generation.instances["echo"] = self.old

    def put(self, factory: Any) -> None:
        """The next reload finds this in the place of ``echo``."""
        plugin = Plugin("echo", None, factory)
        self.patch(sys.modules["pbx.reload"], "load", lambda path: load(path, instead={"echo": plugin}))

    def new(self, **attributes: Any) -> Any:
        return type("New", (Clockwork,), {"events": self.events, "name": "new", **attributes})

    def test_swapped(self) -> None:
        """The old one is stopped, then the new one started."""
        self.put(self.new())
        self.printed("reload()")
        self.assertEqual(self.events, ["old starts", "old stops", "new starts"])

    def test_waited_for(self) -> None:
        """The new one starts only once the old one has stopped; a second reload has to wait; calls go on meanwhile."""
        self.old.stopping = Deferred()
        self.put(self.new())
        reloading = self.operator.run("reload()")
        self.assertNoResult(reloading)
        self.assertEqual(self.events[-1], "old stops")
        self.assertEqual(self.refused("reload()"), "a reload is under way; wait for it")
        self.old.stopping.callback(None)
        self.successResultOf(reloading)
        self.assertEqual(self.events[-1], "new starts")

    def test_old_one_again(self) -> None:
        """If the new one does not start, the old one does again, and nothing has changed."""

        def broken(self: Any) -> None:
            raise OSError("port taken")

        self.put(self.new(startService=broken))
        self.write("100")
        self.assertEqual(self.refused("reload()"), "echo does not start: OSError: port taken; the old one runs again")
        self.assertEqual(self.events, ["old starts", "old stops", "new stops", "old starts"])
        self.assertIs(self.world.service.generation.instances["echo"], self.old)
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "102"])

    def test_fails_later(self) -> None:
        """The same when it says so in a Deferred, or never says anything."""
        outcomes: tuple[tuple[Any, str], ...] = ((lambda: fail(OSError("refused")), "OSError: refused"), (Deferred, "TimeoutError"))
        for make, why in outcomes:
            self.put(self.new(startService=lambda one, make=make: make()))
            reloading = self.operator.run("reload()")
            self.world.run(PATIENCE + 1)
            self.assertIn(why, str(self.failureResultOf(reloading).value))
            self.assertEqual(self.events[-1], "old starts")

    def test_does_not_come_up(self) -> None:
        """A plugin whose factory raises stops the reload before anything was stopped."""
        self.put(lambda settings, pbx: 1 // 0)
        self.assertIn("echo does not come up: ZeroDivisionError", self.refused("reload()"))
        self.assertEqual(self.events, ["old starts"])

    def test_unchanged_goes_on(self) -> None:
        """What has not changed is neither stopped nor started: a line stays registered."""
        self.write("100")
        self.printed("reload()")
        self.assertEqual(self.events, ["old starts"])


CODE = '''
"""A drop-in."""
from zope.interface import implementer
from pbx.api import ICallRouter, Pass, Plugin, Refuse

@implementer(ICallRouter)
class Door:
    def __init__(self, settings, pbx):
        pass

    async def route(self, call):
        return Refuse({status}, "door") if call.called == "800" else Pass()

plugin = Plugin("door_of_reload", None, Door)
'''


class PluginTests(SynchronousTestCase):
    """``reload("name")``."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.code = folder / "door_of_reload.py"
        self.code.write_text(CODE.format(status=403))
        self.text = f'[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\npath = ["{folder}"]\n'
        self.file = Path(self.mktemp()).absolute()
        self.world = World(self.text)
        self.file.write_text(self.text + "".join(extension(number) for number in ("100", "101", "102")))
        self.world.service.loaded = replace(self.world.service.loaded, path=self.file)
        from .base import Operator

        self.operator = Operator(self.world, folder)
        self.addCleanup(self.forget, str(folder))

    def forget(self, folder: str) -> None:
        package: Any = sys.modules["pbx.plugins"]
        sys.modules.pop("pbx.plugins.door_of_reload", None)
        package.__path__ = [entry for entry in package.__path__ if entry != folder]

    def verdict(self) -> str:
        """What a call to 800 comes to."""
        steps = self.operator.explain("100", "800").json()["trace"]
        return str(steps[-1]["why"])

    def test_new_code(self) -> None:
        """New calls meet the new code."""
        self.assertEqual(self.verdict(), "refuse with 403: door")
        self.code.write_text(CODE.format(status=486))
        told = self.successResultOf(self.operator.run("reload('door_of_reload')"))
        self.assertEqual(told, "the code of door_of_reload loaded, 0 live calls keep what they have\n")
        self.assertEqual(self.verdict(), "refuse with 486: door")
        # And a reload of the file keeps to it.
        self.successResultOf(self.operator.run("reload()"))
        self.assertEqual(self.verdict(), "refuse with 486: door")

    def test_bad_code(self) -> None:
        """Code that cannot be imported changes nothing, and the line is told."""
        self.code.write_text("import nothing_of_that_name\n")
        told = str(self.failureResultOf(self.operator.run("reload('door_of_reload')")).value)
        self.assertIn("line 1: ModuleNotFoundError", told)
        self.assertEqual(self.verdict(), "refuse with 403: door")

    def test_the_rest_of_the_file_waits(self) -> None:
        """Only the plugin is loaded anew; what else has changed in the file waits for ``reload()``."""
        self.file.write_text(self.text + extension("100"))
        self.successResultOf(self.operator.run("reload('door_of_reload')"))
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "102"])


class HangUpTests(ReloadTestCase):
    """SIGHUP."""

    def setUp(self) -> None:
        super().setUp()
        self.waiting: list[Any] = []
        self.world.service.reactor.callFromThread = self.waiting.append
        before = signal.getsignal(signal.SIGHUP)
        self.on_hang_up = OnHangUp(self.world.service)
        self.on_hang_up.startService()
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def test_signal(self) -> None:
        """The signal reads the file again, when it is the loop's turn."""
        self.write("100")
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(len(self.waiting), 1)
        self.successResultOf(self.waiting[0]())
        self.assertEqual(sorted(self.world.exchange.directory), ["100"])

    def test_bad_file(self) -> None:
        """A bad file is in the log and does no harm."""
        self.file.write_text("nonsense")
        self.successResultOf(self.on_hang_up.reload())
        self.assertEqual(sorted(self.world.exchange.directory), ["100", "101", "102"])

    def test_stopped(self) -> None:
        """A service that was stopped leaves the signal as it was."""
        ours = signal.getsignal(signal.SIGHUP)
        self.on_hang_up.stopService()
        self.assertNotEqual(signal.getsignal(signal.SIGHUP), ours)
