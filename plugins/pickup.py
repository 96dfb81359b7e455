"""
Pickup: a phone answers a call that rings another one, by ``*40*`` and its number, or ``*50*`` for one of its own pickup group.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from pydantic import field_validator, model_validator
from zope.interface import implementer

from pbx.api import CONGESTION, Call, ICallRouter, IPbx, Kind, Pass, PickUp, Plugin, Refuse, Settings, Verdict, setting

_DIALLED = frozenset("0123456789*#+")


class PickupSettings(Settings):
    """``[pickup]``: answering calls that ring elsewhere."""

    code: str = setting("*40*", "dialled before the number of a phone that rings, to answer there; empty: off", max_length=16)
    group_code: str = setting("*50*", "dialled to answer a phone of one's own pickup group; empty: off", max_length=16)

    @field_validator("code", "group_code")
    @classmethod
    def _can_be_dialled(cls, value: str) -> str:
        if not _DIALLED.issuperset(value):
            raise ValueError(f"{value!r}: a code is made of digits and * # +")
        return value

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        if self.code and self.group_code.startswith(self.code):
            raise ValueError(f"group_code: {self.group_code} begins with code {self.code}, and would be taken for that and a number")
        return self


class PickupRights(Settings):
    """Who may pick up whose calls."""

    pickup_group: str = setting("", "its phones and those with the same name here may answer for each other; empty: none", max_length=64)
    pickup: bool = setting(True, "whether it may answer the calls of any phone, by that phone's number")


@implementer(ICallRouter)
class Pickup:
    """Finds the call that somebody wants to answer."""

    def __init__(self, settings: PickupSettings, pbx: IPbx) -> None:
        self._pbx = pbx
        self._code = settings.code
        self._group_code = settings.group_code
        self._rights: dict[str, PickupRights] = {number: extension.of("pickup") for number, extension in pbx.extensions().items()}

    async def route(self, call: Call) -> Verdict:
        """Judge the two codes; all other numbers are passed."""
        number = call.called
        if self._group_code and number in (self._group_code, f"{self._group_code}#"):
            return self._for_group(call)
        if self._code and number.startswith(self._code):
            return self._for_number(call, number.removeprefix(self._code).removesuffix("#"))
        return Pass()

    def _for_number(self, call: Call, number: str) -> Verdict:
        if not number:
            return Refuse(484, f"{self._code} wants the number of a phone that rings")
        rights = self._rights_of(call)
        if rights is None or not rights.pickup:
            return _refused(403, f"{call.caller.peer} may not pick up the calls of others")
        return self._oldest(call, {number}) or _refused(480, f"nobody rings {number}")

    def _for_group(self, call: Call) -> Verdict:
        rights = self._rights_of(call)
        if rights is None or not rights.pickup_group:
            return _refused(403, f"{call.caller.peer} is in no pickup group")
        group = rights.pickup_group
        members = {number for number, one in self._rights.items() if one.pickup_group == group}
        return self._oldest(call, members) or _refused(480, f"nobody rings pickup group {group}")

    def _rights_of(self, call: Call) -> PickupRights | None:
        """What the caller may do; None: nothing. A diverted call answers nobody's: whoever called did not ask for that."""
        peer = call.caller.peer
        return self._rights.get(peer.name) if peer.kind is Kind.EXTENSION and call.asked_by_caller else None

    def _oldest(self, call: Call, numbers: Collection[str]) -> PickUp | None:
        """The oldest call that rings one of these: an extension, or a group by its own number; never the caller's own."""
        own = (call.caller.peer.kind, call.caller.peer.name)
        for other in self._pbx.calls.values():
            ringing = [peer.name for peer in other.ringing if peer.kind is Kind.EXTENSION]
            if not ringing or (other.caller.peer.kind, other.caller.peer.name) == own:
                continue
            whose = next((number for number in (*ringing, other.called) if number in numbers), None)
            if whose is not None:
                return PickUp(other.call_id, whose)
        return None


def _refused(status: int, why: str) -> Refuse:
    return Refuse(status, why, tone=CONGESTION)


plugin = Plugin("pickup", PickupSettings, Pickup, extension_settings=PickupRights)
