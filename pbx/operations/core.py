"""
The operations of the exchange itself.

Those that change anything are logged with who asked for them.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pbx.call.peer import Caller
from pbx.call.verdict import Outcome
from pbx.explain import explained
from pbx.interfaces import Fault, OperationError
from pbx.operations.answers import Answer, Fields, Table, Told
from pbx.operations.dns import dns_command
from pbx.operations.operation import Function, Operation
from pbx.operations.overview import call_details, call_rows, moment, plugin_rows, registration_rows, settings_of
from pbx.reload import Change

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.service import PbxService


class Operations:
    """
    All that can be asked, for one who asks.

    Args:
        service: The server.
        who: For the log, and for what a call is told of its end: ``"admin@127.0.0.1"``.
    """

    def __init__(self, service: PbxService, who: str) -> None:
        self._service = service
        self._exchange = service.exchange
        self._who = who
        looking = (self.calls, self.call, self.registrations, self.explain, self.records, self.plugins, self.settings, self.bans)
        changing = (self.dial, self.hang_up, self.unregister, self.lift, self.reload)
        self._looking: dict[str, Function] = {one.__name__: one for one in looking}
        self._looking["check_dns"] = dns_command(service.dns_check, service.dns_watch)
        self._own: dict[str, Function] = {**self._looking, **{one.__name__: one for one in changing}}

    def by_name(self) -> dict[str, Operation]:
        """All operations, also those of the plugins that are in force now, which are taken to change something; our own come first."""
        return {name: self._operation(name, function, name not in self._looking) for name, function in self._functions().items()}

    def find(self, name: str, *, controls: bool) -> Operation | None:
        """The operation of that name; ``controls``: it is logged. None: nobody offers it."""
        function = self._functions().get(name)
        return None if function is None else self._operation(name, function, controls)

    def _functions(self) -> dict[str, Function]:
        added = self._service.generation.shell_commands()
        return {**self._own, **{name: function for name, function in added.items() if name not in self._own}}

    def _operation(self, name: str, function: Function, controls: bool) -> Operation:
        return Operation(name, function, self._who, controls=controls)

    # Looking

    def calls(self) -> Answer:
        """The live calls."""
        columns = ("id", "caller", "dialled", "called", "phase", "seconds", "legs")
        return Table(columns, call_rows(self._exchange), "no calls")

    def call(self, id: str) -> Answer:
        """One call, live or over not long ago: its legs, its media, and how it was routed."""
        live = self._exchange.calls.get(text_of(id, "call"))
        if live is not None:
            routing = Told("\n".join(explained(live, rehearsed=False)), [*live.trace.json()])
            return call_details(live.record(self._exchange.wall()).json(), live.phase.value, routing)
        for ended in self._exchange.recent:
            if ended.record.call_id == id:
                record = ended.record.json()
                steps = [f"{step['router']}: {step['called']}: {step['why']}" for step in record["trace"]]
                return call_details(record, "over", Told("\n".join(steps) or "-", record["trace"]))
        raise self.no_call(id)

    def registrations(self) -> Answer:
        """The devices that are registered."""
        columns = ("number", "contact", "address", "transport", "expires_in", "reachable", "user_agent")
        return Table(columns, registration_rows(self._service), "nobody is registered")

    def explain(self, caller: str, called: str, outcome: str | None = None) -> Any:
        """What the dial plan would do, without ringing anybody; outcome ("busy", "no answer", ...): if every attempt ended so."""
        peer = self._exchange.directory.get(text_of(caller, "explain"))
        if peer is None:
            raise OperationError(f"nobody here has the number {caller!r}; {_hint(caller, self._exchange.directory)}", field="caller")
        ends_so = None if outcome is None else _outcome(outcome)
        rehearsal = self._exchange.explain(Caller(peer, str(caller), peer.display), text_of(called, "explain"), ends_so)
        return rehearsal.addCallback(_explanation)

    def records(self, n: int = 20) -> Any:
        """The last n calls that are over, from the store."""
        if not isinstance(n, int) or isinstance(n, bool) or not 0 < n <= 100_000:
            raise OperationError(f"records: how many? a whole number from 1 to 100000, not {n!r}")
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
            raise OperationError(f"there is no table {table!r}; {_hint(table, shown)}", Fault.UNKNOWN)
        value = shown[table]
        return Fields(value) if isinstance(value, dict) else Told(str(value), value)

    def bans(self) -> Answer:
        """The addresses that are not heard."""
        now = self._service.driver.now()
        rows = [(ban.address, round(ban.until - now), ban.proofs) for ban in self._service.guard.bans(now)]
        return Table(("address", "seconds_left", "failed_proofs"), rows, "nobody is banned")

    # Changing

    def dial(self, a: str, b: str) -> Answer:
        """Ring a; when it answers, ring b for it and join them."""
        call = self._exchange.originate(text_of(a, "dial"), text_of(b, "dial"))
        return Told(f"call {call.call_id}: {a} is rung for {b}", {"call_id": call.call_id})

    def hang_up(self, id: str) -> Answer:
        """End a call."""
        call = self._exchange.calls.get(text_of(id, "hang_up"))
        if call is None:
            raise self.no_call(id)
        call.hang_up(f"hung up by the operator ({self._who})")
        return Told(f"call {call.call_id} is hung up", {"call_id": call.call_id})

    def unregister(self, aor: str) -> Answer:
        """Forget the devices of a number; they may register again."""
        count = self._service.location.remove(text_of(aor, "unregister"))
        if not count:
            raise OperationError(f"nobody is registered for {aor}; registrations() lists who is", Fault.UNKNOWN)
        return Told(f"{count} device{'s' if count > 1 else ''} of {aor} unregistered", {"number": str(aor), "devices": count})

    def lift(self, ip: str) -> Answer:
        """End the ban of an address."""
        if not self._service.guard.lift(text_of(ip, "lift")):
            raise OperationError(f"{ip} is not banned; bans() lists who is", Fault.UNKNOWN)
        return Told(f"{ip} is heard again", {"address": ip})

    def reload(self, name: str | None = None) -> Any:
        """Read the configuration again and take over what has changed; with a plugin's name: load its code anew."""
        reloads = self._service.reloads
        coroutine = reloads.configuration() if name is None else reloads.plugin(text_of(name, "reload"))
        return Deferred.fromCoroutine(coroutine).addCallback(_change)

    # The pieces

    def no_call(self, call_id: str) -> OperationError:
        """What to raise where no call has that id."""
        known = [*self._exchange.calls, *(ended.record.call_id for ended in self._exchange.recent)]
        sentence = f"there is no call {call_id!r}; {_hint(call_id, known)}" if known else "there are no calls"
        return OperationError(sentence, Fault.UNKNOWN, "id")


def text_of(value: Any, operation: str) -> str:
    """A number or name as it was meant: whole numbers are taken for what they look like."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or not value:
        raise OperationError(f'{operation}: {value!r} does not do; write numbers and names in quotes, as in "100"')
    return value


def _hint(wanted: Any, known: Any) -> str:
    """What to write instead of a name that is not there."""
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
    raise OperationError(f"{text!r} is no outcome; there are {', '.join(repr(outcome.value) for outcome in Outcome)}", field="outcome")


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
