"""
Running what was typed: Python, with the commands as names, and sentences instead of tracebacks.

What is shared by the prompt and by ``ssh host 'calls().json()'``.
"""

from __future__ import annotations

import contextlib
import io
import json
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pbx.interfaces import OperationError
from pbx.operations.answers import Answer

if TYPE_CHECKING:
    from pbx.shell.commands import Commands

SOURCE = "<shell>"


class Leave(Exception):
    """``exit()`` was typed."""


async def run(text: str, commands: Commands, service: Any) -> str:
    """
    Run ``text``, an expression or statements, and wait for its result.

    Returns:
        What is to be printed: JSON where the result is plain data, else the text of the answer; ends in a newline unless empty.

    Raises:
        OperationError: With a sentence: it is no Python, or it raised something.
    """
    names = namespace(commands, service)
    printed = io.StringIO()
    result: Any = None
    try:
        with contextlib.redirect_stdout(printed):
            try:
                compiled = compile(text.strip(), SOURCE, "eval")
            except SyntaxError:
                exec(compile(text, SOURCE, "exec"), names)  # noqa: S102  # that is what the shell is for
            else:
                result = eval(compiled, names)  # noqa: S307  # the same
        if isinstance(result, Deferred):
            result = await result
    except (Leave, SystemExit):
        return printed.getvalue()
    except Exception as error:
        raise OperationError(in_a_sentence(error, names)) from error
    return printed.getvalue() + shown(result)


def namespace(commands: Commands, service: Any) -> dict[str, Any]:
    """The names that can be typed."""
    return {"__name__": "__shell__", "service": service, "exit": leave, "quit": leave, **commands.by_name()}


def leave() -> None:
    """Close the terminal."""
    raise Leave


def shown(result: Any) -> str:
    """A result for a program to read."""
    if result is None:
        return ""
    if isinstance(result, Answer):
        return f"{result!r}\n"
    if isinstance(result, str):
        return result if result.endswith("\n") else result + "\n"
    try:
        return json.dumps(result, ensure_ascii=False) + "\n"
    except (TypeError, ValueError):
        return f"{result!r}\n"


def in_a_sentence(error: BaseException, names: Mapping[str, Any]) -> str:
    """What went wrong, in one line or, for mistakes in a file, one each."""
    match error:
        case OperationError():
            return str(error)
        case SyntaxError():
            where = f" at column {error.offset}" if error.offset else ""
            return f"this is no Python{where}: {error.msg}; help() lists the commands"
        case NameError(name=str(name)):
            close = get_close_matches(name, names, 1, 0.6)
            return f"there is no {name}; did you mean {close[0]}?" if close else f"there is no {name}; help() lists the commands"
    return "".join(traceback.format_exception_only(error)).strip()
