"""
The interactive prompt: Python with colours and history, the results of commands as text, Deferreds shown when they fire.
"""

from __future__ import annotations

import sys
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from twisted.conch.manhole import ColoredManhole, ManholeInterpreter
from twisted.internet.defer import Deferred

from pbx.operations.answers import settled
from pbx.shell.commands import Commands, Terminal
from pbx.shell.running import Leave, in_a_sentence, namespace

if TYPE_CHECKING:
    from pbx.service import PbxService
    from pbx.shell.tracing import Traces

WELCOME = "pbx: help() lists the commands, exit() leaves"


class Interpreter(ManholeInterpreter):
    """Runs lines; what goes wrong is told in a sentence."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(prompt, {}, "<shell>")
        self._prompt = prompt

    def push(self, line: bytes) -> Any:
        try:
            # Each time anew: a reload may have brought commands and taken others.
            self.locals.update(namespace(self._prompt.commands, self._prompt.service))
            return super().push(line)
        except UnicodeDecodeError:
            self.resetBuffer()
            self.write("this is not UTF-8")
            return False

    def displayhook(self, obj: Any) -> None:
        if obj is None:
            return
        self.locals["_"] = obj
        if not isinstance(obj, Deferred):
            self.write(repr(obj))
            return
        result = settled(obj)
        if not isinstance(result, Deferred):
            self.displayhook(result)
            return
        self.numDeferreds += 1
        number = self.numDeferreds
        self.write(f"#{number}: it takes a moment; the answer is shown when it comes")
        result.addCallbacks(
            lambda value: self._came(number, repr(value)), lambda failure: self._came(number, self._sentence(failure.value))
        )

    def showtraceback(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Leave):
            self._prompt.handle_QUIT()
        elif error is not None:
            self.write(self._sentence(error))

    def showsyntaxerror(self, filename: str | None = None, **_: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            self.write(self._sentence(error))

    def runcode(self, *arguments: Any, **named: Any) -> None:
        try:
            super().runcode(*arguments, **named)
        except SystemExit:
            self._prompt.handle_QUIT()

    def _came(self, number: int, text: str) -> None:
        self.write(f"#{number}: {text}" if "\n" not in text else f"#{number}:\n{text}", True)

    def _sentence(self, error: BaseException) -> str:
        return in_a_sentence(error, self.locals)


class Prompt(ColoredManhole):
    """
    One interactive terminal.

    Attributes:
        commands: What can be typed.
    """

    def __init__(self, service: PbxService, who: str, traces: Traces) -> None:
        super().__init__({})
        self.service = service
        self.commands = Commands(service, Terminal(who, self.write_later), traces)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.interpreter = Interpreter(self)

    def initializeScreen(self) -> None:
        """As ever, with a line of welcome above the first prompt."""
        self.terminal.reset()
        self.terminal.write(WELCOME)
        self.terminal.nextLine()
        self.terminal.write(self.ps[self.pn])
        self.setInsertMode()

    def terminalSize(self, width: int, height: int) -> None:
        """Nothing is cleared: what stands there is worth more than a fresh screen."""
        self.width, self.height = width, height

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:  # noqa: N803  # Twisted names it
        try:
            super().characterReceived(ch, moreCharactersComing)
        except (SyntaxError, TokenError, IndexError):
            # Half of a line is not always Python; then it has no colours.
            self.terminal.write(ch)

    def addOutput(self, data: Any, isAsync: Any = None) -> None:  # noqa: N803  # the same
        """As conch's, which cannot bring back a line that was being typed: it takes its list of letters for a letter."""
        if not isAsync:
            self.terminal.write(data)
            return
        self.terminal.eraseLine()
        self.terminal.cursorBackward(len(self.lineBuffer) + len(self.ps[self.pn]))
        self.terminal.write(data)
        if self._needsNewline():
            self.terminal.nextLine()
        self.terminal.write(self.ps[self.pn] + b"".join(self.lineBuffer))
        behind = len(self.lineBuffer) - self.lineBufferIndex
        if behind:
            self.terminal.cursorBackward(behind)

    def write_later(self, text: str) -> None:
        """Show text that no command was answered with; the prompt and what was being typed come again below it."""
        self.addOutput(text, True)

    def connectionLost(self, reason: Any) -> None:
        self.commands.gone()
        super().connectionLost(reason)
