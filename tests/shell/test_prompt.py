"""The interactive prompt."""

from __future__ import annotations

import re
from typing import Any

from twisted.conch.insults.insults import ServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pbx.shell.prompt import WELCOME, Prompt

from .base import ShellTestCase


class PromptTests(ShellTestCase):
    """What is typed, and what appears."""

    def setUp(self) -> None:
        super().setUp()
        self.prompt = Prompt(self.world.service, "admin@192.0.2.9", self.operator.traces)
        self.terminal = ServerProtocol(lambda: self.prompt)
        self.transport = StringTransport()
        self.terminal.makeConnection(self.transport)
        self.prompt.terminalSize(80, 24)

    def screen(self) -> str:
        """What has appeared since the last time, without colours and movements."""
        text = self.transport.value().decode()
        self.transport.clear()
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|.)", "", text).replace("\r\n", "\n")

    def type(self, line: str) -> str:
        """Type a line all at once, as a paste; gives what the exchange says to it."""
        self.screen()
        self.terminal.dataReceived(line.encode() + b"\r")
        return self.screen().partition("\n")[2]

    def test_welcome(self) -> None:
        """Who comes is told how to go on."""
        self.assertIn(f"{WELCOME}\n>>> ", self.screen())

    def test_table(self) -> None:
        """Answers are printed as tables, and the last one is ``_``."""
        self.world.phone("100")
        self.assertIn("number  contact", self.type("registrations()"))
        self.assertEqual(self.type("len(_)"), "1\n>>> ")

    def test_sentence(self) -> None:
        """A wrong argument gets a sentence and no traceback."""
        self.assertEqual(self.type("calls(1)"), "calls: too many positional arguments; it is called so: calls()\n>>> ")
        self.assertEqual(self.type("foo"), "there is no foo; help() lists the commands\n>>> ")
        self.assertIn("this is no Python", self.type("1 +"))
        self.assertEqual(self.type("1 / 0"), "ZeroDivisionError: division by zero\n>>> ")

    def test_command_itself(self) -> None:
        """A command without its brackets shows its help."""
        self.assertEqual(self.type("calls"), "calls(): The live calls.\n>>> ")

    def test_several_lines(self) -> None:
        """Statements over several lines are Python as ever."""
        self.type("for n in (1, 2):")
        self.type("    print(n)")
        self.assertEqual(self.type(""), "1\n2\n>>> ")

    def test_deferred(self) -> None:
        """An answer that takes a while is shown when it comes; one that is there already, at once."""
        self.assertEqual(self.type("records()"), "no calls yet\n>>> ")
        waited_for: Deferred[Any] = Deferred()
        self.world.service.store.records = lambda n: waited_for
        self.assertEqual(self.type("records()"), "#1: it takes a moment; the answer is shown when it comes\n>>> ")
        waited_for.callback([])
        self.assertIn("#1: no calls yet\n>>> ", self.screen())

    def test_deferred_that_fails(self) -> None:
        """So is a failure, in a sentence."""
        waited_for: Deferred[Any] = Deferred()
        self.world.service.store.records = lambda n: waited_for
        self.type("records()")
        waited_for.errback(OSError("the disk is gone"))
        self.assertIn("#1: records broke: OSError: the disk is gone; the log has all of it", self.screen())
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_live_trace(self) -> None:
        """Messages appear above what is being typed, which comes again below them."""
        self.type('trace("100")')
        self.terminal.dataReceived(b"cal")
        self.world.phone("100")
        screen = self.screen()
        self.assertIn("REGISTER sip:192.0.2.1 SIP/2.0\n", screen)
        self.assertTrue(screen.endswith(">>> cal"), screen[-40:])

    def test_half_a_line(self) -> None:
        """Text that is no Python yet is shown as it is typed, letter by letter."""
        for text in (b'trace("1', b"\r", b"'''", b"\r", b"  )]", b"\r"):
            for letter in text:
                self.terminal.dataReceived(bytes((letter,)))
        self.assertIn(")]", self.screen())

    def test_not_utf8(self) -> None:
        """What cannot be read is refused."""
        self.prompt.lineReceived(b"'\xff'")
        self.assertIn("this is not UTF-8", self.screen())

    def test_leave(self) -> None:
        """``exit()``, ``quit()`` and an exit from Python close the terminal, and nothing else."""
        for line in ("exit()", "quit()", "raise SystemExit"):
            closed: list[bool] = []
            self.prompt.terminal.loseConnection = lambda closed=closed: closed.append(True)
            self.type(line)
            self.assertEqual(closed, [True])

    def test_closed(self) -> None:
        """With the terminal its traces end."""
        self.type('trace("100")')
        self.terminal.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.operator.traces.running, [])
