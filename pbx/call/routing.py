"""
Asking the routers: in the order of the configuration, the first that does not pass decides.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, TimeoutError

from pbx.call.stepping import rest_within
from pbx.call.verdict import Answer, Divert, Pass, PickUp, Refuse, Ring, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from pbx.call.call import Call
    from pbx.call.rewriting import Rewriting
    from pbx.call.verdict import Verdict

_VERDICTS = (Pass, Ring, Divert, Answer, Refuse, PickUp)


class Routing:
    """The dial plan: routers and overflows in their order."""

    def __init__(
        self,
        routers: Sequence[tuple[str, Any]],
        overflows: Sequence[tuple[str, Any]],
        patience: float,
        clock: IReactorTime,
        levels: Mapping[str, int],
        rewrite: Rewriting,
    ) -> None:
        """
        Args:
            routers: By name, in the order in which they are asked.
            overflows: The same.
            patience: Seconds that one router may take.
            clock: For that.
            levels: Prefix to the level that it takes to dial it; a prefix that is not there is everybody's.
            rewrite: Applied to each number that is asked for, before anybody is asked.
        """
        self._levels = sorted(levels.items(), key=lambda item: -len(item[0]))  # the longest prefix first
        self._routers = [(name, plugin.route) for name, plugin in routers]
        self._overflows = [(name, plugin.overflow) for name, plugin in overflows]
        self._patience = patience
        self._clock = clock
        self._rewrite = rewrite

    async def route(self, call: Call) -> Verdict:
        """Where ``call.called`` goes; nobody knows it: 404; above the level of whoever dials: 403."""
        if self._rewrite:
            asked, call.called = call.called, self._rewrite(call.called)
            if call.called != asked:
                call.trace.add(Step("rewrite", "route", asked, Pass(why=f"{asked} becomes {call.called}"), 0.0))
        for prefix, level in self._levels:
            if call.called.startswith(prefix):
                own = call.rights.level
                if own is None or level > own:
                    has = "none" if own is None else own
                    refused = Refuse(403, f"{call.called} takes level {level}, and {call.rights} has {has}")
                    call.trace.add(Step("levels", "route", call.called, refused, 0.0))
                    return refused
                break
        verdict = await self._ask(call, "route", self._routers)
        return Refuse(404, f"nobody knows the number {call.called}") if verdict is None else verdict

    async def overflow(self, call: Call) -> Verdict | None:
        """What comes after a failed attempt; None: nothing more."""
        return await self._ask(call, "overflow", self._overflows)

    async def _ask(
        self, call: Call, question: str, asked: list[tuple[str, Callable[[Call], Coroutine[Any, Any, Verdict]]]]
    ) -> Verdict | None:
        for name, ask in asked:
            began = perf_counter()
            answer = ask(call)
            try:
                waiting = answer.send(None)
            except StopIteration as done:  # as nearly all do: it has decided at once
                verdict: Verdict = done.value
            except Exception as error:
                verdict = self._failed(call, name, error)
            else:
                verdict = await self._waited(call, name, answer, waiting)
            if verdict.__class__ is not Pass:
                verdict = _sound(call, name, verdict)
            took = (perf_counter() - began) * 1000
            call.trace.add(Step(name, question, call.called, verdict, took, call.outcome if question == "overflow" else None))
            if not isinstance(verdict, Pass):
                return verdict
            _narrow(call, verdict)
        return None

    async def _waited(self, call: Call, name: str, answer: Coroutine[Any, Any, Verdict], waiting: Any) -> Verdict:
        try:
            return await rest_within(answer, waiting, self._patience, self._clock)
        except Exception as error:
            return self._failed(call, name, error)

    def _failed(self, call: Call, name: str, error: Exception) -> Verdict:
        """
        What a router comes to that raises; to be called where that is being handled.

        Raises:
            CancelledError: The caller hung up: an Exception in Twisted, which means that only if the call was cancelled.
        """
        if isinstance(error, CancelledError):
            if call.cancelled:
                raise error
            return _broken(call, name, "it cancelled its own work")
        if isinstance(error, TimeoutError):
            call.log.error("{router} did not decide in {s} s", router=name, s=self._patience)
            return Refuse(504, f"{name} took too long")
        call.log.failure("{router} broke", router=name)
        return Refuse(500, f"{name} broke: {type(error).__name__}")


def _sound(call: Call, name: str, verdict: Any) -> Verdict:
    """``verdict``, if it is one."""
    if not isinstance(verdict, _VERDICTS):
        return _broken(call, name, f"its verdict was {verdict!r}")
    if isinstance(verdict, Refuse) and not 400 <= verdict.status <= 699:
        return _broken(call, name, f"it refused with {verdict.status}, which is no refusal")
    return verdict


def _broken(call: Call, name: str, how: str) -> Refuse:
    call.log.error("{router} broke: {how}", router=name, how=how)
    return Refuse(500, f"{name} broke: {how}")


def _narrow(call: Call, verdict: Pass) -> None:
    """One that passes may narrow what a later one decides: the smallest value wins."""
    if verdict.ring_at_most is not None:
        call.ring_at_most = _smaller(call.ring_at_most, verdict.ring_at_most)
    if verdict.talk_at_most is not None:
        call.talk_at_most = _smaller(call.talk_at_most, verdict.talk_at_most)
    if verdict.caller is not None:
        call.shown = verdict.caller
        call.shown_name = call.caller.display if verdict.caller == call.caller.number else ""


def _smaller(a: float | None, b: float) -> float:
    return b if a is None else min(a, b)
