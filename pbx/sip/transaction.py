"""What the four transaction machines of RFC 3261 §17 share: a place in a table, a deadline, an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pbx.sip.effects import Arm, Cause, Effect, Ended

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pbx.sip.flow import Flow
    from pbx.sip.timing import Timing

CALL_METHODS: Final = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY"))
"""Transactions with these methods belong to calls: none is left 64*T1 after the last one."""


class Transaction:
    """
    One request and its responses.

    It takes its place in ``table`` when it is made and leaves it when it ends; then nothing but
    its user holds it any more. It is driven by commands, by messages and, through `wake`, by time.
    """

    __slots__ = ("_key", "_table", "_timing", "armed", "deadline", "flow", "method", "user")

    def __init__(self, method: str, flow: Flow, user: Any, timing: Timing, table: dict[Any, Any], key: Hashable) -> None:
        self.method = method
        self.flow = flow
        """The way that the request went, or came."""
        self.user = user
        """Who is told: see `pbx.sip.effects`; None: nobody."""
        self.deadline: float | None = None
        """When to call `wake`, in seconds of the driver's clock; None: not at all."""
        self.armed: float | None = None
        """Kept by whoever keeps the time: when it is going to look at `deadline` next."""
        self._timing = timing
        self._table = table
        self._key = key
        table[key] = self

    @property
    def standing(self) -> bool:
        """True if it belongs to no call (REGISTER, OPTIONS, ...)."""
        return self.method not in CALL_METHODS

    def _wait(self, deadline: float, effects: list[Effect]) -> list[Effect]:
        """Set the deadline; an `Arm` is added only if it would be missed without one."""
        self.deadline = deadline
        if self.armed is None or deadline < self.armed:
            effects.append(Arm(self))
        return effects

    def _end(self, cause: Cause, effects: list[Effect]) -> list[Effect]:
        """Leave the table, and have the clock let go of this as well."""
        self.deadline = None
        # Another one can stand there if a peer has used its branch twice.
        if self._table.get(self._key) is self:
            del self._table[self._key]
        if self.armed is not None:
            effects.append(Arm(self))
        effects.append(Ended(self, cause))
        return effects

    def wake(self, now: float) -> list[Effect]:
        """Time has reached `deadline`; too early a call does no harm."""
        raise NotImplementedError
