"""
Minutes: how long an extension may talk at the exchange's expense in a day.

Who gets hold of a password telephones through the night. What counts is the time that calls over lines and trunks are
connected, to whoever has the rights to make them: after a diversion that is the one who has diverted. When the minutes of a day
are used up, the calls that are on are ended and no further ones are let out until midnight, local time.
"""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pbx.api import Call, ICallObserver, ICallRouter, IPbx, IShellCommands, Kind, Pass, Plugin, Record, Refuse, Settings, Verdict, setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

_NAMESPACE = "minutes"
USED_UP = "the minutes of today are used up"


class MinutesSettings(Settings):
    """``[minutes]``: how long the extensions may talk over lines and trunks in a day."""

    a_day: float = setting(0.0, "minutes a day, local time, that each extension may talk over lines and trunks; 0: no limit", ge=0)


class ExtensionMinutes(Settings):
    """What it adds to ``[extensions.NNN]``."""

    minutes_a_day: float | None = setting(
        None, "minutes a day that it may talk over lines and trunks; 0: no limit, unset: [minutes] a_day", ge=0
    )


class Account:
    """
    What one extension has used of its day.

    Attributes:
        limit: Seconds a day.
        used: Seconds of `day`, as of `at`.
        calls: Those that are counted now, by id.
        timer: Runs out when the seconds do.
    """

    def __init__(self, limit: float, day: date, at: float) -> None:
        self.limit = limit
        self.used = 0.0
        self.day = day
        self.at = at
        self.calls: dict[str, Call] = {}
        self.timer: IDelayedCall | None = None

    @property
    def left(self) -> float:
        """Seconds; a hundredth is none, for sums of fractions are never quite what they should be."""
        rest = self.limit - self.used
        return rest if rest > 0.01 else 0.0

    def settle(self, day: date, now: float) -> None:
        """Count up to ``now``; a new day begins with nothing."""
        self.used += (now - self.at) * len(self.calls)
        self.at = now
        if day != self.day:
            self.day, self.used = day, 0.0


@implementer(ICallRouter, ICallObserver, IShellCommands)
class Minutes(Service):
    """Lets calls out as long as there are minutes left."""

    def __init__(self, settings: MinutesSettings, pbx: IPbx) -> None:
        self._pbx = pbx
        limits = {number: extension.of("minutes").minutes_a_day for number, extension in pbx.extensions().items()}
        self._limits = {number: 60.0 * (settings.a_day if own is None else own) for number, own in limits.items()}
        self.is_idle = not any(self._limits.values())
        self._accounts: dict[str, Account] = {}
        self._payers: dict[str, str] = {}  # by call: whoever pays at its answer does to its end, whatever is done with it meanwhile

    def startService(self) -> None:
        """Go on with what was used today, and with the calls that are on."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        for call in self._pbx.calls.values():
            if call.answered_at and not call.over:
                self.call_answered(call)
        Deferred.fromCoroutine(self._read()).addErrback(self._not_kept)

    def stopService(self) -> None:
        """Keep what is used."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        for number, account in self._accounts.items():
            self._settle(account)
            self._keep(number, account)
            account.calls.clear()
            self._plan(number, account)
        self._accounts.clear()  # it may be started again, and reads then what is kept
        self._payers.clear()

    async def route(self, call: Call) -> Verdict:
        """Nobody is let out who has no minutes left; calls within the house are not asked about."""
        account = self._account(call)
        if account is None or call.called in self._pbx.extensions() or not self._pbx.dial_plan.serves(call.called):
            return Pass()
        self._settle(account)
        return Pass() if account.left else Refuse(403, USED_UP)

    def call_begun(self, call: Call) -> None:
        """Nothing counts yet."""

    def call_answered(self, call: Call) -> None:
        """It counts from now on, if it goes out; after a transfer whoever has paid so far goes on to do so."""
        if call.call_id in self._payers:
            return
        account = self._account(call)
        goes_out = any(leg.uri and leg.status == 200 and leg.peer.kind is not Kind.EXTENSION for leg in call.legs)
        if account is not None and goes_out:
            self._settle(account)
            account.calls[call.call_id] = call
            self._payers[call.call_id] = call.rights.name
            self._plan(call.rights.name, account)

    def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
        """The diverter's rights count from now on; nothing has been used."""

    def call_ended(self, call: Call, record: Record) -> None:
        payer = self._payers.pop(call.call_id, None)
        if payer is not None:
            account = self._accounts[payer]
            self._settle(account)
            del account.calls[call.call_id]
            self._plan(payer, account)
            self._keep(payer, account)

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {"minutes": self.minutes}

    def minutes(self) -> list[dict[str, Any]]:
        """What each extension with a limit has used of its minutes today."""
        rows = []
        for number, limit in self._limits.items():
            if limit:
                account = self._accounts.get(number)
                if account is not None:
                    self._settle(account)
                used = account.used if account is not None else 0.0
                rows.append({"number": number, "used": round(used / 60.0, 1), "a_day": limit / 60.0})
        return rows

    def sizes(self) -> dict[str, int]:
        """The table of those who have used any; as long as that of extensions at most."""
        return {"accounts": len(self._accounts), "calls": len(self._payers)}

    def _account(self, call: Call) -> Account | None:
        """Whose minutes a call takes; None: nobody's who has a limit."""
        limit = self._limits.get(call.rights.name, 0.0) if call.rights.kind is Kind.EXTENSION else 0.0
        return self._of(call.rights.name, limit) if limit else None

    def _of(self, number: str, limit: float) -> Account:
        account = self._accounts.get(number)
        if account is None:
            account = self._accounts[number] = Account(limit, self._pbx.local_date(), self._pbx.clock.seconds())
        return account

    def _settle(self, account: Account) -> None:
        account.settle(self._pbx.local_date(), self._pbx.clock.seconds())

    def _plan(self, number: str, account: Account) -> None:
        """Look again when the calls that are on will have used up the rest."""
        if account.timer is not None and account.timer.active():
            account.timer.cancel()
        account.timer = None
        if account.calls:
            account.timer = self._pbx.clock.callLater(account.left / len(account.calls), self._look, number, account)

    def _look(self, number: str, account: Account) -> None:
        self._settle(account)
        if account.left:  # midnight has passed meanwhile
            self._plan(number, account)
            return
        self._pbx.log.warn("extension {number} has used up its minutes of today", number=number)
        for call in list(account.calls.values()):
            call.hang_up(USED_UP)

    def _keep(self, number: str, account: Account) -> None:
        kept = self._pbx.store.put(_NAMESPACE, number, json.dumps([account.day.isoformat(), round(account.used, 1)]))
        kept.addErrback(self._not_kept)

    async def _read(self) -> None:
        today = self._pbx.local_date()
        for number, text in await self._pbx.store.items(_NAMESPACE):
            day, used = json.loads(text)
            limit = self._limits.get(number, 0.0)
            if limit and day == today.isoformat():
                account = self._of(number, limit)
                account.used += used
                self._plan(number, account)

    def _not_kept(self, failure: Any) -> None:
        self._pbx.log.error("used minutes are not on disk: {why}", why=failure.getErrorMessage())


plugin = Plugin("minutes", MinutesSettings, Minutes, extension_settings=ExtensionMinutes)
