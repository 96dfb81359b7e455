"""
External lines: accounts at carriers where the exchange registers, ``[lines.NAME]``.

A call belongs to a line if it asks for the token of the Contact that we have registered, and comes on the registered flow or from
an address of the registrar or proxy. Calls go out by the prefixes of the dial plan, while the line is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from zope.interface import implementer

from pbx.api import (
    Arrival,
    Call,
    Caller,
    Carrier,
    ICallerIdentifier,
    ICallRouter,
    IOverflow,
    IPbx,
    IShellCommands,
    Kind,
    Plugin,
    Refuse,
    Ring,
    SipUri,
    Verdict,
    asserted,
)

from .line import Line
from .settings import REMEDY, LineSettings, rivals


@implementer(ICallerIdentifier, ICallRouter, IOverflow, IShellCommands)
class Lines(Service):
    """All lines."""

    def __init__(self, settings: dict[str, LineSettings], pbx: IPbx) -> None:
        for name, first, prefix in rivals(settings, pbx.outside_prefix):
            raise ValueError(f'[lines.{name}] has the prefix "{prefix}" of line {first}, and nothing tells them apart; {REMEDY}')
        self._pbx = pbx
        self.is_idle = not settings
        self._lines = {name: Line(name, one, pbx, self._find_addresses) for name, one in settings.items()}
        self._by_token = {line.token: line for line in self._lines.values() if line.settings.register}
        self._at: dict[str, list[Line]] = {}
        pbx.carry([self._carrier(line) for line in self._lines.values()])
        pbx.spare(lambda address: address in self._at)
        for name, one in settings.items():
            if one.incoming:
                pbx.expect_number(one.incoming, f"lines.{name}.incoming")

    def _carrier(self, line: Line) -> Carrier:
        settings = line.settings
        return Carrier(
            line.peer,
            (self._pbx.outside_prefix,) if settings.prefixes is None else settings.prefixes,
            line.target,
            hops=(settings.hop,),
            allowed=settings.allowed,
            backup=settings.backup,
            ring_timeout=settings.no_answer_after or None,
            down=line.down,
        )

    def startService(self) -> None:
        """Register."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        for line in self._lines.values():
            line.start()
        self._find_addresses()

    def stopService(self) -> Deferred[Any]:
        """Take the registrations back; fires when that is done, or takes too long."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        return DeferredList([line.stop() for line in self._lines.values()])

    def identify(self, arrival: Arrival) -> Caller | None:
        """A carrier is known by our token and where it comes from; its word on who calls is believed."""
        request = arrival.request
        uri = request.uri
        token = uri.decoded_user if isinstance(uri, SipUri) else ""
        line = self._by_token.get(token)
        by_token = line is not None
        for one in (line,) if line is not None else self._unregistered_at(arrival.source):
            if one.is_sender(arrival):
                number, display = asserted(request)
                return Caller(one.peer, number, display, called=one.called(request, by_token=by_token))
        return None

    async def route(self, call: Call) -> Verdict:
        """The line with the longest prefix."""
        return self._complete(self._pbx.dial_plan.route(call, Kind.LINE), call)

    async def overflow(self, call: Call) -> Verdict:
        """The next one with the same prefix."""
        return self._complete(self._pbx.dial_plan.overflow(call, Kind.LINE), call)

    def _complete(self, verdict: Verdict, call: Call) -> Verdict:
        """Refuse a number of which nothing is left."""
        if not isinstance(verdict, Ring):
            return verdict
        peer = verdict.targets[0].peer
        if self._lines[peer.name].number(call.called):
            return verdict
        return Refuse(484, f"nothing is left of {call.called} to ask {peer} for")

    def _find_addresses(self) -> None:
        """Whose address is whose, made anew when one changes."""
        self._at = {}
        for line in self._lines.values():
            for address in line.addresses():
                self._at.setdefault(address, []).append(line)

    def _unregistered_at(self, address: str) -> Iterable[Line]:
        """The lines that are known by their addresses alone."""
        return (line for line in self._at.get(address, ()) if not line.settings.register)

    # The shell

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {"lines": self.lines, "line": self.line}

    def lines(self) -> list[dict[str, Any]]:
        """The lines: whether they are registered, where, for how long, their calls, and what failed last."""
        return [self._row(line) for line in self._lines.values()]

    def line(self, name: str) -> OneLine | str:
        """One line; line("a").register() and line("a").unregister() do what they say."""
        line = self._lines.get(name)
        if line is None:
            return f"there is no line {name}; there are {', '.join(self._lines) or 'none'}"
        return OneLine(line, lambda: self._row(line))

    def _row(self, line: Line) -> dict[str, Any]:
        enrolment = line.enrolment
        left = enrolment.expires_at if enrolment is not None else None
        calls = [call for call in self._pbx.calls.values() if not call.over]
        return {
            "name": line.name,
            "state": line.state,
            "expires_in": None if left is None else round(left - self._pbx.clock.seconds()),
            "server": enrolment.server if enrolment is not None else "",
            "calls": sum(any(leg.peer == line.peer for leg in call.legs) for call in calls),
            "last_failure": line.last_failure,
            "warning": self._pbx.warnings.get(str(line.peer), ""),
        }


class OneLine:
    """A line at the prompt of the shell."""

    def __init__(self, line: Line, row: Callable[[], dict[str, Any]]) -> None:
        self._line = line
        self._row = row

    def register(self) -> OneLine | str:
        """Register now, without waiting for its time."""
        if not self._line.settings.register:
            return f"{self._line.peer} does not register: register = false"
        self._log("told to register")
        self._line.start()
        return self

    def unregister(self) -> OneLine:
        """Take the registration back, until `register` or a restart."""
        if self._line.enrolment is not None:
            self._log("told to unregister")
            self._line.enrolment.stop()
        return self

    def json(self) -> dict[str, Any]:
        """As a row of ``lines()``."""
        return self._row()

    def _log(self, what: str) -> None:
        self._line.log.info("{line}: {what}", line=str(self._line.peer), what=what)

    def __repr__(self) -> str:
        return "\n".join(f"{name.replace('_', ' ')}: {'-' if value in (None, '') else value}" for name, value in self._row().items())


plugin = Plugin("lines", None, Lines, keyed=LineSettings)
