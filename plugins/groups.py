"""
Ring groups: one number for several extensions, ``[groups.NNN]``.

A member that wants no calls, or has no phone registered, is left out. When no member takes the call it goes to the group's
overflow, with the rights of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, Self

from pydantic import field_validator
from zope.interface import implementer

from pbx.api import (
    Call,
    Divert,
    ICallRouter,
    IOverflow,
    IPbx,
    IShellCommands,
    Kind,
    Pass,
    Peer,
    Plugin,
    Refuse,
    Ring,
    Settings,
    Target,
    Verdict,
    setting,
)

_ENGLISH = {
    "without": "without {members}",
    "member": "{number} ({why})",
    "and": ", ",
    "calls": "it calls",
    "diverted": "it has diverted the call",
    "unregistered": "not registered",
    "forwarded": "forwarded to {to}",
    "elsewhere": "answered by the exchange",
}
_CHINESE = {
    "without": "不含 {members}",
    "member": "{number}({why})",
    "and": "、",
    "calls": "是主叫",
    "diverted": "转移了此呼叫",
    "unregistered": "未注册",
    "forwarded": "已转移到 {to}",
    "elsewhere": "由交换机应答",
}


class GroupSettings(Settings):
    """``[groups.NNN]``: one number that rings several extensions."""

    members: tuple[str, ...] = setting(..., 'numbers of the extensions that it rings, such as ["100", "101"]', max_length=100)
    strategy: Literal["all", "in turn", "rotate"] = setting(
        "all",
        'all at once; or one after another, each call from the first member on ("in turn"), or from the one behind the member that the '
        'last call began with ("rotate")',
    )
    timeout: float = setting(20.0, 'seconds of ringing: with "all" altogether, else each member', gt=0)
    overflow: str = setting(
        "", "number that gets the call when no member takes it, as an extension dials it; empty: the caller hears how it has ended"
    )
    level: int = setting(0, "call level of the group: what its overflow, and its members' numbers, may take", ge=0)

    @field_validator("members")
    @classmethod
    def _are_members(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('a group without members rings nobody; name some, such as ["100", "101"]')
        twice = next((member for member in value if value.count(member) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands there twice")
        return value

    @classmethod
    def check_entries(cls, entries: Mapping[str, Self]) -> Iterator[tuple[str, str, str, str]]:
        """Members are extensions, and the overflow is somebody else."""
        for number, group in entries.items():
            for member in group.members:
                if member in entries:
                    what = "the group itself" if member == number else "a group"
                    yield number, "members", f"{member} is {what}, and members are extensions", "name its members instead"
            if group.overflow == number:
                yield number, "overflow", "the group itself: its calls would come back for ever", "name another number, or leave it empty"


@implementer(ICallRouter, IOverflow, IShellCommands)
class Groups:
    """Rings the members of groups, and says what comes when none of them takes the call."""

    def __init__(self, settings: dict[str, GroupSettings], pbx: IPbx) -> None:
        taken = sorted(settings.keys() & pbx.extensions().keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: an extension has this number too, and a number is either; give the group another one")
        self._settings = settings
        self._pbx = pbx
        self.is_idle = not settings
        self._words = _CHINESE if pbx.language == "zh" else _ENGLISH
        self._began_with: dict[str, str] = {}  # of groups that rotate: the member that was rung first the last time
        # A group has rights of its own: who diverts to its overflow is the group.
        pbx.enlist({number: Peer(Kind.EXTENSION, number, level=group.level) for number, group in settings.items()})
        for number, group in settings.items():
            for member in group.members:
                pbx.expect_number(member, f"groups.{number}.members")
            if group.overflow:
                pbx.expect_number(group.overflow, f"groups.{number}.overflow", local=False)

    async def route(self, call: Call) -> Verdict:
        """Ring the members that can be had; how the others are left out stands in the verdict."""
        number = call.called
        group = self._settings.get(number)
        if group is None:
            return Pass()
        if call.explaining and call.hops and call.caller.peer.name in self._settings:
            # A group asks where its member leads: here, so it is forwarded. Asking our members in turn might never end.
            return Refuse(480, f"forwarded to group {number}")
        targets: list[Target] = []
        left_out: list[str] = []
        for member in self._in_order(number, group):
            found = await self._devices_of(member, call)
            if isinstance(found, str):
                left_out.append(self._words["member"].format(number=member, why=found))
            else:
                targets += found
        begun = partial(self._begun, number, targets[0].peer.name) if targets and group.strategy == "rotate" else None
        why = self._words["without"].format(members=self._words["and"].join(left_out)) if left_out else ""
        return Ring(tuple(targets), group.timeout, in_turn=group.strategy != "all", group=True, why=why, begun=begun)

    async def overflow(self, call: Call) -> Verdict:
        """No member has taken the call: it goes to the group's overflow."""
        group = self._settings.get(call.called)
        if group is None or not group.overflow or call.outcome is None:
            return Pass()
        return Divert(group.overflow, because=call.outcome.value)

    def _in_order(self, number: str, group: GroupSettings) -> tuple[str, ...]:
        members = group.members
        last = self._began_with.get(number)
        if group.strategy != "rotate" or last not in members:
            return members
        place = members.index(last) + 1
        return members[place:] + members[:place]

    def _begun(self, number: str, member: str) -> None:
        self._began_with[number] = member

    async def _devices_of(self, member: str, call: Call) -> Iterable[Target] | str:
        """What is rung for a member; or why it is not."""
        if call.caller.peer.kind is Kind.EXTENSION and call.caller.peer.name == member:
            return self._words["calls"]
        if any(diversion.diverter == member for diversion in call.diversions):
            return self._words["diverted"]
        verdict = await self._pbx.rehearse(member, caller=call.called)
        match verdict:
            case Ring():
                elsewhere = dict.fromkeys(str(target.peer) for target in verdict.targets if target.peer.name != member)
                return self._words["forwarded"].format(to=self._words["and"].join(elsewhere)) if elsewhere else verdict.targets
            case Refuse():
                return verdict.why or self._words["unregistered"]
            case _:
                return self._words["elsewhere"]

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {"groups": self.groups}

    def groups(self) -> list[dict[str, Any]]:
        """The ring groups: whom they ring and how, how many calls ring there now, and with whom the next one begins."""
        return [
            {
                "number": number,
                "members": list(group.members),
                "strategy": group.strategy,
                "timeout": group.timeout,
                "overflow": group.overflow,
                "ringing": sum(bool(call.called == number and call.ringing) for call in self._pbx.calls.values()),
                "next": self._in_order(number, group)[0] if group.strategy != "all" else "",
            }
            for number, group in self._settings.items()
        ]


plugin = Plugin("groups", None, Groups, keyed=GroupSettings)
