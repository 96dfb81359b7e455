"""
The commands of the shell. Each answers with something that prints as text and has ``.json()``.

Commands that change anything are logged with who gave them.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pbx.call.peer import Caller
from pbx.call.verdict import Outcome
from pbx.config import ConfigurationError
from pbx.explain import explained
from pbx.log import Log
from pbx.reload import Change, ReloadError
from pbx.shell.answers import Answer, Fields, ShellError, Table, Told, answer_of, settled
from pbx.shell.dns import dns_command
from pbx.shell.ladder import ladder_of
from pbx.shell.overview import call_details, call_rows, moment, plugin_rows, registration_rows, settings_of, sizes_of
from pbx.store import StoreError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from pbx.call.call import Call
    from pbx.service import PbxService
    from pbx.shell.tracing import Traces

log = Log(namespace="pbx.shell")

Function = Callable[..., Any]


class Terminal:
    """
    Who gives commands, and where what comes later is shown.

    Args:
        who: For the log: ``"admin@127.0.0.1"``.
        write: Takes text that no command has been answered with, such as traces.
    """

    def __init__(self, who: str, write: Callable[[str], None]) -> None:
        self.who = who
        self.write = write


class Command:
    """A command as it stands at the prompt: to be called, and to be looked at for its help."""

    __slots__ = ("_controls", "_function", "_terminal", "name")

    def __init__(self, name: str, function: Function, terminal: Terminal, *, controls: bool) -> None:
        """``controls``: it changes something, and is logged."""
        self.name = name
        self._function = function
        self._terminal = terminal
        self._controls = controls

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """
        Carry it out.

        Raises:
            ShellError: With a sentence: it was called in the wrong way, or it cannot be done.
        """
        try:
            bound = inspect.signature(self._function).bind(*arguments, **named)
        except TypeError as error:
            raise ShellError(f"{self.name}: {error}; it is called so: {self.usage}") from None
        if self._controls:
            shown = ", ".join([*map(repr, bound.args), *(f"{name}={value!r}" for name, value in bound.kwargs.items())])
            log.info("{who}: {command}({arguments})", who=self._terminal.who, command=self.name, arguments=shown)
        try:
            answer = self._function(*arguments, **named)
            if inspect.iscoroutine(answer):
                answer = Deferred.fromCoroutine(answer)
            if isinstance(answer, Deferred):
                # Only now a waiting command's own errors are known: they get their sentence when they come.
                answer = settled(answer.addErrback(self._failed_later).addCallback(answer_of))
        except Exception as error:
            self._failed(error)
        return answer_of(answer)

    @property
    def usage(self) -> str:
        """``dial(a, b)``."""
        return f"{self.name}{_plain_signature(self._function)}"

    @property
    def help(self) -> str:
        """The first paragraph of its docstring, on one line."""
        return " ".join((inspect.getdoc(self._function) or "").partition("\n\n")[0].split())

    def __repr__(self) -> str:
        return f"{self.usage}: {self.help}"

    def _failed_later(self, failure: Failure) -> None:
        self._failed(failure.value or AssertionError(), failure)

    def _failed(self, error: BaseException, failure: Failure | None = None) -> None:
        if isinstance(error, ShellError):
            raise error
        if isinstance(error, StoreError | ConfigurationError | ReloadError):
            raise ShellError(str(error)) from None
        log.failure("the command {command} broke", failure, command=self.name)
        raise ShellError(f"{self.name} broke: {type(error).__name__}: {error}; the log has all of it") from error


class Commands:
    """The commands, for one terminal."""

    def __init__(self, service: PbxService, terminal: Terminal, traces: Traces) -> None:
        self._service = service
        self._exchange = service.exchange
        self._terminal = terminal
        self._traces = traces
        looking = (
            self.help, self.calls, self.call, self.ladder, self.registrations, self.explain, self.trace, self.records,
            self.plugins, self.settings, self.sizes, self.bans,
        )  # fmt: skip
        changing = (self.dial, self.hang_up, self.unregister, self.lift, self.reload)
        self._own = {function.__name__: Command(function.__name__, function, terminal, controls=False) for function in looking}
        self._own |= {function.__name__: Command(function.__name__, function, terminal, controls=True) for function in changing}
        self._own["check_dns"] = Command("check_dns", dns_command(service.dns_check, service.dns_watch), terminal, controls=False)
        self._own["trace"] = Command("trace", self.trace, terminal, controls=True)

    def by_name(self) -> dict[str, Command]:
        """All commands, also those of the plugins that are in force now; the shell's own come first."""
        added = {
            name: Command(name, function, self._terminal, controls=True)
            for name, function in self._service.generation.shell_commands().items()
            if name not in self._own
        }
        return {**self._own, **added}

    def gone(self) -> None:
        """The terminal is closed."""
        self._traces.owner_gone(self._terminal)

    @property
    def is_watching(self) -> bool:
        """Whether something is still to be shown on this terminal."""
        return bool(self._traces.of(self._terminal))

    # Looking

    def help(self) -> Answer:
        """What can be typed here."""
        return Table(("command", "does"), [(command.usage, command.help) for command in self.by_name().values()])

    def calls(self) -> Answer:
        """The live calls."""
        columns = ("id", "caller", "dialled", "called", "phase", "seconds", "legs")
        return Table(columns, call_rows(self._exchange), "no calls")

    def call(self, id: str) -> Answer:
        """One call, live or over not long ago: its legs, its media, and how it was routed."""
        live = self._exchange.calls.get(_text(id, "call"))
        if live is not None:
            routing = Told("\n".join(explained(live, rehearsed=False)), [*live.trace.json()])
            return call_details(live.record(self._exchange.wall()).json(), live.phase.value, routing)
        for ended in self._exchange.recent:
            if ended.record.call_id == id:
                record = ended.record.json()
                steps = [f"{step['router']}: {step['called']}: {step['why']}" for step in record["trace"]]
                return call_details(record, "over", Told("\n".join(steps) or "-", record["trace"]))
        raise self._no_call(id)

    def ladder(self, call_id: str) -> Answer:
        """The SIP messages of a call, live or over not long ago, as arrows between its parties."""
        legs = self._legs(_text(call_id, "ladder"))
        drawn = ladder_of(self._service.messages.of([leg for _, leg in legs]), legs)
        if not legs:
            raise ShellError(f"nobody was rung in call {call_id}")
        if not drawn.arrows:
            raise ShellError(f"the messages of {call_id} are not kept any more")
        parties = [{"party": party, "address": address} for party, address in drawn.parties]
        messages = [
            {"seconds": round(one.seconds, 3), "party": drawn.parties[one.party][0], "sent": one.sent, "message": one.text}
            for one in drawn.arrows
        ]
        return Told(drawn.draw(), {"parties": parties, "messages": messages})

    def registrations(self) -> Answer:
        """The devices that are registered."""
        columns = ("number", "contact", "address", "transport", "expires_in", "reachable", "user_agent")
        return Table(columns, registration_rows(self._service), "nobody is registered")

    def explain(self, caller: str, called: str, outcome: str | None = None) -> Any:
        """What the dial plan would do, without ringing anybody; outcome ("busy", "no answer", ...): if every attempt ended so."""
        peer = self._exchange.directory.get(_text(caller, "explain"))
        if peer is None:
            raise ShellError(f"nobody here has the number {caller!r}; {_known(caller, self._exchange.directory)}")
        ends_so = None if outcome is None else _outcome(outcome)
        rehearsal = self._exchange.explain(Caller(peer, str(caller), peer.display), _text(called, "explain"), ends_so)
        return rehearsal.addCallback(_explanation)

    def trace(self, number: str | None = None, file: str | None = None, off: bool = False) -> Answer:
        """The SIP messages of a number, here as they go by or into a file (.pcap, .txt); off=True ends it; no number: what is traced."""
        if number is None:
            rows = [(one.number, one.to, one.count) for one in self._traces.running]
            return Table(("number", "to", "messages"), rows, "nothing is traced")
        number = _text(number, "trace")
        if off:
            ended = self._traces.end_of(number, self._terminal)
            if not ended:
                raise ShellError(f"there is no trace of {number}; trace() lists them")
            count = sum(one.count for one in ended)
            return Told(f"the trace of {number} is off; it had {count} messages", {"number": number, "messages": count})
        if file is not None:
            _, path = self._traces.to_file(number, _text(file, "trace"))
            return Told(f'{number} is traced into {path}; trace("{number}", off=True) ends it', {"number": number, "file": str(path)})
        self._traces.to_terminal(number, self._terminal, self._terminal.write)
        return Told(f'{number} is traced here; trace("{number}", off=True) ends it', {"number": number})

    def records(self, n: int = 20) -> Any:
        """The last n calls that are over, from the store."""
        if not isinstance(n, int) or isinstance(n, bool) or not 0 < n <= 100_000:
            raise ShellError(f"records: how many? a whole number from 1 to 100000, not {n!r}")
        kept: Deferred[Any] = self._service.store.records(n)
        return kept.addCallback(_record_table)

    def plugins(self) -> Answer:
        """The plugins, in the order in which they are asked."""
        return Table(("name", "file", "provides", "runs"), plugin_rows(self._service))

    def settings(self, table: str | None = None) -> Answer:
        """The configuration in force, all of it or one table; secrets are blanked."""
        shown = settings_of(self._service.loaded)
        if table is None:
            return Fields(shown)
        if table not in shown:
            raise ShellError(f"there is no table {table!r}; {_known(table, shown)}")
        value = shown[table]
        return Fields(value) if isinstance(value, dict) else Told(str(value), value)

    def sizes(self) -> Answer:
        """The length of every table: those of calls, all zero once none has been for a while, and those that stand."""
        return Fields(sizes_of(self._service, len(self._traces.running)))

    def bans(self) -> Answer:
        """The addresses that are not heard."""
        now = self._service.driver.now()
        rows = [(ban.address, round(ban.until - now), ban.proofs) for ban in self._service.guard.bans(now)]
        return Table(("address", "seconds_left", "failed_proofs"), rows, "nobody is banned")

    # Changing

    def dial(self, a: str, b: str) -> Answer:
        """Ring a; when it answers, ring b for it and join them."""
        call = self._exchange.originate(_text(a, "dial"), _text(b, "dial"))
        return Told(f"call {call.call_id}: {a} is rung for {b}", {"call_id": call.call_id})

    def hang_up(self, id: str) -> Answer:
        """End a call."""
        call = self._exchange.calls.get(_text(id, "hang_up"))
        if call is None:
            raise self._no_call(id)
        call.hang_up(f"hung up by the operator ({self._terminal.who})")
        return Told(f"call {call.call_id} is hung up", {"call_id": call.call_id})

    def unregister(self, aor: str) -> Answer:
        """Forget the devices of a number; they may register again."""
        count = self._service.location.remove(_text(aor, "unregister"))
        if not count:
            raise ShellError(f"nobody is registered for {aor}; registrations() lists who is")
        return Told(f"{count} device{'s' if count > 1 else ''} of {aor} unregistered", {"number": str(aor), "devices": count})

    def lift(self, ip: str) -> Answer:
        """End the ban of an address."""
        if not self._service.guard.lift(_text(ip, "lift")):
            raise ShellError(f"{ip} is not banned; bans() lists who is")
        return Told(f"{ip} is heard again", {"address": ip})

    def reload(self, name: str | None = None) -> Any:
        """Read the configuration again and take over what has changed; with a plugin's name: load its code anew."""
        reloads = self._service.reloads
        coroutine = reloads.configuration() if name is None else reloads.plugin(_text(name, "reload"))
        return Deferred.fromCoroutine(coroutine).addCallback(_change)

    # The pieces

    def _legs(self, call_id: str) -> list[tuple[str, str]]:
        live: Call | None = self._exchange.calls.get(call_id)
        if live is not None and live.legs:
            return [(str(leg.peer), leg.sip_call_id) for leg in live.legs]
        for ended in self._exchange.recent:
            if ended.record.call_id == call_id:
                return list(ended.legs)
        if live is not None:
            return []
        raise self._no_call(call_id)

    def _no_call(self, call_id: str) -> ShellError:
        known = [*self._exchange.calls, *(ended.record.call_id for ended in self._exchange.recent)]
        return ShellError(f"there is no call {call_id!r}; {_known(call_id, known)}" if known else "there are no calls")


def _plain_signature(function: Function) -> str:
    """Names and defaults without types: what one types."""
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _text(value: Any, command: str) -> str:
    """A number or name as it was meant: whole numbers are taken for what they look like."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or not value:
        raise ShellError(f'{command}: {value!r} does not do; write numbers and names in quotes, as in "100"')
    return value


def _known(wanted: Any, known: Any) -> str:
    names = sorted(known)
    close = get_close_matches(str(wanted), names, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(names)}" if 0 < len(names) <= 12 else f"there are {len(names)}" if names else "there are none"


def _outcome(text: Any) -> Outcome:
    wanted = " ".join(str(text.value if isinstance(text, Outcome) else text).lower().replace("_", " ").replace("-", " ").split())
    for outcome in Outcome:
        if outcome.value == wanted:
            return outcome
    raise ShellError(f"{text!r} is no outcome; there are {', '.join(repr(outcome.value) for outcome in Outcome)}")


def _explanation(call: Call) -> Told:
    lines = explained(call, rehearsed=True)
    value = {
        "caller": call.caller.number,
        "dialled": call.dialled,
        "called": call.called,
        "outcome": call.outcome.value if call.outcome is not None else None,
        "trace": call.trace.json(),
        "words": lines,
    }
    return Told("\n".join(lines), value)


def _record_table(rows: list[tuple[int, str, str]]) -> Table:
    columns = ("id", "caller", "dialled", "called", "begun", "seconds", "outcome", "status", "reason")
    records = [json.loads(text) for _, _, text in rows]
    return RecordTable(
        columns,
        [
            (
                one["call_id"], one["caller"], one["dialled"], one["called"], moment(one["begun"]), one.get("duration", 0.0),
                one["outcome"], one["status"], one["reason"],
            )
            for one in records
        ],
        records,
    )  # fmt: skip


class RecordTable(Table):
    """Call records: a line each on the screen, all of them for programs."""

    __slots__ = ("_records",)

    def __init__(self, columns: tuple[str, ...], rows: list[tuple[Any, ...]], records: list[dict[str, Any]]) -> None:
        super().__init__(columns, rows, "no calls yet")
        self._records = records

    def json(self) -> list[dict[str, Any]]:
        return self._records


def _change(change: Change) -> Told:
    value = {
        "changes": change.words,
        "at_next_start": change.waiting,
        "loaded": change.loaded,
        "remade": change.remade,
        "live_calls": change.live_calls,
        "shown": change.shown,
    }
    return Told("\n".join([str(change), *change.shown]), value)
