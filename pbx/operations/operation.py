"""One operation, as it is carried out for somebody: checked, logged, awaited, its errors in sentences."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pbx.config import ConfigurationError
from pbx.interfaces import Fault, OperationError
from pbx.log import Log
from pbx.operations.answers import answer_of, settled
from pbx.reload import ReloadError
from pbx.store import StoreError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

log = Log(namespace="pbx.operations")

Function = Callable[..., Any]


class Operation:
    """
    An operation that somebody can call; it can be looked at for its help.

    Args:
        name: What it is called by.
        function: What does it.
        who: Who calls it, for the log: ``"admin@127.0.0.1"``.
        controls: It changes something, and is logged.
    """

    __slots__ = ("_controls", "_who", "function", "name")

    def __init__(self, name: str, function: Function, who: str, *, controls: bool) -> None:
        self.name = name
        self.function = function
        self._who = who
        self._controls = controls

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """
        Carry it out.

        Returns:
            Its answer; a `pbx.operations.answers.Later` where it has to wait, which may fail as this does.

        Raises:
            OperationError: With a sentence: it was called in the wrong way, or it cannot be done.
        """
        try:
            bound = inspect.signature(self.function).bind(*arguments, **named)
        except TypeError as error:
            raise OperationError(f"{self.name}: {error}; it is called so: {self.usage}") from None
        if self._controls:
            shown = ", ".join([*map(repr, bound.args), *(f"{name}={value!r}" for name, value in bound.kwargs.items())])
            log.info("{who}: {operation}({arguments})", who=self._who, operation=self.name, arguments=shown)
        try:
            answer = self.function(*arguments, **named)
            if inspect.iscoroutine(answer):
                answer = Deferred.fromCoroutine(answer)
            if isinstance(answer, Deferred):
                # Only now a waiting operation's own errors are known: they get their sentence when they come.
                answer = settled(answer.addErrback(self._failed_later).addCallback(answer_of))
        except Exception as error:
            self._failed(error)
        return answer_of(answer)

    @property
    def usage(self) -> str:
        """``dial(a, b)``."""
        return f"{self.name}{_plain_signature(self.function)}"

    @property
    def help(self) -> str:
        """The first paragraph of its docstring, on one line."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n\n")[0].split())

    def __repr__(self) -> str:
        return f"{self.usage}: {self.help}"

    def _failed_later(self, failure: Failure) -> None:
        self._failed(failure.value or AssertionError(), failure)

    def _failed(self, error: BaseException, failure: Failure | None = None) -> None:
        if isinstance(error, OperationError):
            raise error
        if isinstance(error, StoreError | ConfigurationError | ReloadError):
            raise OperationError(str(error), Fault.BROKEN) from None
        log.failure("the operation {operation} broke", failure, operation=self.name)
        raise OperationError(f"{self.name} broke: {type(error).__name__}: {error}; the log has all of it", Fault.BROKEN) from error


def _plain_signature(function: Function) -> str:
    """Names and defaults without types: what one types."""
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
