"""
Limits: how many devices, how many calls, how long.
"""

from __future__ import annotations

from zope.interface import implementer

from pbx.api import Call, ICallRouter, IPbx, IRegistrationPolicy, Pass, Plugin, Refuse, Settings, Verdict, setting


class LimitsSettings(Settings):
    """``[limits]``: what the exchange as a whole may carry."""

    max_clients: int = setting(0, "distinct devices that may be registered; 0: no limit", ge=0)
    max_calls: int = setting(0, "calls at once; 0: no limit", ge=0)
    max_call_duration: float = setting(0.0, "seconds from the answer after which a call is cleared; 0: no limit", ge=0)


@implementer(ICallRouter, IRegistrationPolicy)
class Limits:
    """Refuses what is too much, and narrows what goes on too long."""

    def __init__(self, settings: LimitsSettings, pbx: IPbx) -> None:
        self._settings = settings
        self._pbx = pbx
        self.is_idle = not (settings.max_calls or settings.max_call_duration)

    def may_register(self, aor: str, contact: str, is_new: bool) -> Refuse | None:
        """A new device beyond the limit is refused; a refresh always passes."""
        limit = self._settings.max_clients
        if is_new and limit and self._pbx.location.devices() >= limit:
            return Refuse(403, f"client limit {limit} reached")
        return None

    async def route(self, call: Call) -> Verdict:
        limit = self._settings.max_calls
        if limit and not call.hops and sum(1 for one in self._pbx.calls.values() if not one.over) > limit:
            return Refuse(503, f"limit of {limit} calls reached")
        return Pass(talk_at_most=self._settings.max_call_duration or None)


plugin = Plugin("limits", LimitsSettings, Limits)
