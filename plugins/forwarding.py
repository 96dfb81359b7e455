"""
Call forwarding: always, when busy, when nobody answers, when nobody can be reached; do not disturb; and what a phone redirects by itself.

A forward is set in ``[extensions.NNN]``, or from the phone: ``*90*102`` has calls go to 102 when this extension is busy, ``*90#`` ends
that. What was set from a phone is kept, and wins over the file until it is taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import field_validator
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from pbx.api import (
    CONFIRMATION,
    CONGESTION,
    Answer,
    Call,
    Divert,
    Diverting,
    IApplication,
    ICallRouter,
    IMediaEnd,
    IOverflow,
    IPbx,
    IShellCommands,
    Kind,
    Leg,
    Outcome,
    Pass,
    Plugin,
    Refuse,
    Settings,
    StoreError,
    Verdict,
    setting,
)

_NUMBER = re.compile(r"\+?[0-9][0-9*#]{0,63}|[A-Za-z][A-Za-z0-9._-]{0,63}")
"""What calls can be forwarded to; nothing that begins like a star code."""
_CODE = re.compile(r"\*(9[0-3]|78|79)(?:(#?)|\*(.*?)#?)")
_KINDS = {"90": "busy", "91": "unreachable", "92": "no answer", "93": "always"}
"""The star codes of each kind of forward; its name is the ``because`` of the diversion as well."""
_OUTCOMES = {Outcome.BUSY: "busy", Outcome.NO_ANSWER: "no answer", Outcome.UNREACHABLE: "unreachable"}
_DO_NOT_DISTURB = "do not disturb"
_TONE = 2.0
"""Seconds of the tone that confirms a change."""
_NO_RIGHT = (403, 404)
"""What a rehearsal comes to when a number must not, or cannot, be dialled; all else may be different when the time comes."""


def _forward(value: str) -> str:
    if value and not _NUMBER.fullmatch(value):
        raise ValueError(f"{value!r} is no number that calls could go to")
    return value


class ForwardingSettings(Settings):
    """``[forwarding]``: how diversions are told, and how many there may be."""

    call_info: Literal["vendor", "rfc", "both", "off"] = setting(
        "vendor",
        'the Call-Info of a 181: "vendor": purpose, username and contact as application servers of such systems read it, "rfc": in the '
        "form of RFC 3261",
    )
    max_hops: int = setting(5, "diversions in one call, those by phones included; more is a loop", ge=1, le=20)
    no_answer_after: float = setting(20.0, "seconds of ringing before a call goes on because nobody answers", gt=0, le=600)


class ForwardsSettings(Settings):
    """What every ``[extensions.NNN]`` may say of its forwards."""

    forwarding: bool = setting(False, "whether it may set forwards from its phone, by star codes")
    forward_always: str = setting("", "where all its calls go; empty: nowhere else")
    forward_busy: str = setting("", "where its calls go while it is busy")
    forward_no_answer: str = setting("", "where its calls go when nobody answers")
    forward_unreachable: str = setting("", "where its calls go while none of its phones is registered, or none responds")
    no_answer_after: float | None = setting(None, "seconds before that; unset: [forwarding] no_answer_after", gt=0, le=600)

    @field_validator("forward_always", "forward_busy", "forward_no_answer", "forward_unreachable")
    @classmethod
    def _is_a_number(cls, value: str) -> str:
        return _forward(value)

    @property
    def forwards(self) -> dict[str, str]:
        """By kind."""
        return {
            "always": self.forward_always,
            "busy": self.forward_busy,
            "no answer": self.forward_no_answer,
            "unreachable": self.forward_unreachable,
        }


class Forwards:
    """The forwards of one extension: what the file says, and what has been set from its phones."""

    def __init__(self, file: Mapping[str, str]) -> None:
        self._file = file
        self.take({})

    def take(self, changes: dict[str, Any]) -> None:
        """Put into force what has been set from phones."""
        self.set = changes
        """By kind, "" for one that has been ended; and whether it must not be disturbed."""
        self.any = self.do_not_disturb or any(self.to(kind) for kind in self._file)
        """Whether there is anything to be said of them."""

    def to(self, kind: str) -> str:
        """Where calls go; "" for nowhere."""
        number: str = self.set.get(kind, self._file[kind])
        return number

    @property
    def do_not_disturb(self) -> bool:
        return bool(self.set.get(_DO_NOT_DISTURB))


@implementer(IApplication)
class Change:
    """Puts a change into force, and lets the phone hear that it is so."""

    def __init__(self, plugin: Forwarding, number: str, kind: str, value: str | bool) -> None:
        self._plugin = plugin
        self._number = number
        self._kind = kind
        self._value = value

    async def run(self, leg: Leg, media: IMediaEnd) -> None:
        done = await self._plugin.change(self._number, self._kind, self._value)
        media.play(CONFIRMATION if done else CONGESTION)
        await deferLater(self._plugin.clock, _TONE)


@implementer(ICallRouter, IOverflow, IShellCommands)
class Forwarding(Service):
    """Knows where the calls of each extension go instead."""

    def __init__(self, settings: ForwardingSettings, pbx: IPbx) -> None:
        self._pbx = pbx
        self.clock = pbx.clock
        self._rights: dict[str, ForwardsSettings] = {number: entry.of("forwarding") for number, entry in pbx.extensions().items()}
        self._after = {number: rights.no_answer_after or settings.no_answer_after for number, rights in self._rights.items()}
        self._forwards = {number: Forwards(rights.forwards) for number, rights in self._rights.items()}
        self._loading: list[Deferred[None]] | None = []
        pbx.divert_as(Diverting(settings.call_info, settings.max_hops))
        itself = [f"{number} to itself" for number, forwards in self._forwards.items() if number in self._rights[number].forwards.values()]
        if itself:
            raise ValueError(f"an extension cannot forward its calls to itself: {', '.join(itself)}")

    # What was set from the phones

    def startService(self) -> None:
        """Read what was set before."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        self._pbx.store.items("forwarding").addCallbacks(self._take, self._not_read)

    def _take(self, rows: list[tuple[str, str]]) -> None:
        for number, text in rows:
            if number in self._forwards:
                self._forwards[number].take(json.loads(text))
        self._loaded()

    def _not_read(self, failure: Any) -> None:
        self._pbx.log.error("forwards set from phones could not be read, the file's are in force: {why}", why=failure.getErrorMessage())
        self._loaded()

    def _loaded(self) -> None:
        waiting, self._loading = self._loading, None
        for one in waiting or ():
            one.callback(None)

    async def _known(self, number: str) -> Forwards | None:
        """The forwards of an extension; right after the start that may take a moment."""
        forwards = self._forwards.get(number)
        if forwards is not None and self._loading is not None:
            loaded: Deferred[None] = Deferred()
            self._loading.append(loaded)
            await loaded
        return forwards

    async def change(self, number: str, kind: str, value: str | bool) -> bool:
        """Put a change into force once it is on disk; False: it could not be written, and nothing has changed."""
        forwards = await self._known(number)
        if forwards is None:
            return False
        changed = {**forwards.set, kind: value}
        try:
            await self._pbx.store.put("forwarding", number, json.dumps(changed))
        except StoreError as error:
            self._pbx.log.error("the forward of {number} is not on disk: {why}", number=number, why=str(error))
            return False
        forwards.take(changed)
        self._pbx.log.info("{number}: {kind} is now {value}", number=number, kind=kind, value=value or "off")
        return True

    # The dial plan

    async def route(self, call: Call) -> Verdict:
        """A star code, or an extension whose calls go elsewhere whatever it does."""
        called = call.called
        if called.startswith("*"):
            return await self._code(call)
        forwards = await self._known(called)
        if forwards is None or not forwards.any:
            return Pass()
        if forwards.do_not_disturb:
            to = forwards.to("busy")
            return Divert(to, _DO_NOT_DISTURB) if to else Refuse(480, f"{called} does not want to be disturbed")
        if to := forwards.to("always"):
            return Divert(to, "always")
        return Pass(ring_at_most=self._after[called]) if forwards.to("no answer") else Pass()

    async def overflow(self, call: Call) -> Verdict:
        """The forward for how the attempt has ended; then the next place that a phone has named."""
        forwards = await self._known(call.called)
        kind = _OUTCOMES.get(call.outcome) if call.outcome is not None else None
        if forwards is not None and kind is not None and (to := forwards.to(kind)):
            return Divert(to, kind)
        redirection = call.redirection
        if redirection is not None and redirection.numbers:
            return Divert(redirection.numbers[0], "redirected", by=redirection.by)
        return Pass()

    # Star codes

    async def _code(self, call: Call) -> Verdict:
        match = _CODE.fullmatch(call.called)
        if match is None:
            return Pass()
        code, ended, to = match.groups()
        peer = call.caller.peer
        if peer.kind is not Kind.EXTENSION or peer.name not in self._forwards or not call.asked_by_caller:
            return Refuse(403, "star codes are for the phones of the house")
        number = peer.name
        if code in ("78", "79"):
            return Answer(Change(self, number, _DO_NOT_DISTURB, code == "78")) if to is None else Refuse(404, "no such code", CONGESTION)
        why = await self._unfit(number, to) if to is not None else None if ended else (484, "the code lacks its number")
        if not self._rights[number].forwarding:
            why = 403, f"{number} may not set forwards"
        return Refuse(*why, CONGESTION) if why else Answer(Change(self, number, _KINDS[code], to or ""))

    async def _unfit(self, number: str, to: str) -> tuple[int, str] | None:
        """Why the calls of ``number`` cannot go to ``to``, with the status that says so."""
        if not to:
            return 484, "the code lacks its number"
        if to == number:
            return 403, f"{number} cannot forward its calls to itself"
        if not _NUMBER.fullmatch(to):
            return 403, f"{to} is no number that calls could go to"
        verdict = await self._pbx.rehearse(to, caller=number)
        if isinstance(verdict, Refuse) and verdict.status in _NO_RIGHT:
            return verdict.status, f"{number} cannot dial {to} itself: {verdict.why}"
        return None

    # The shell

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {"forwards": self.forwards}

    def forwards(self) -> list[dict[str, Any]]:
        """Where the calls of each extension go instead, and whether it was said by the file or from a phone."""
        rows = []
        for number, forwards in sorted(self._forwards.items()):
            if forwards.any or forwards.set:
                row: dict[str, Any] = {"extension": number}
                row |= {kind: forwards.to(kind) for kind in ("always", "busy", "no answer", "unreachable")}
                rows.append(row | {_DO_NOT_DISTURB: forwards.do_not_disturb, "from a phone": ", ".join(forwards.set)})
        return rows


plugin = Plugin("forwarding", ForwardingSettings, Forwarding, extension_settings=ForwardsSettings)
