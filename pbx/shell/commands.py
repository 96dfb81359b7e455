"""
The commands of the shell: the operations of the exchange and of its plugins (`pbx.operations`), and what only a terminal can show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pbx.interfaces import OperationError
from pbx.operations.answers import Answer, Fields, Table, Told
from pbx.operations.core import Operations, text_of
from pbx.operations.operation import Operation
from pbx.operations.overview import sizes_of
from pbx.shell.ladder import ladder_of

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.service import PbxService
    from pbx.shell.tracing import Traces


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


class Commands:
    """The commands of one terminal."""

    def __init__(self, service: PbxService, terminal: Terminal, traces: Traces) -> None:
        self._service = service
        self._exchange = service.exchange
        self._terminal = terminal
        self._traces = traces
        self._operations = Operations(service, terminal.who)
        looking = (self.help, self.ladder, self.sizes)
        self._own = {one.__name__: Operation(one.__name__, one, terminal.who, controls=False) for one in looking}
        self._own["trace"] = Operation("trace", self.trace, terminal.who, controls=True)

    def by_name(self) -> dict[str, Operation]:
        """What can be typed: the operations, and what only a terminal can show."""
        return {"help": self._own["help"], **self._operations.by_name(), **self._own}

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

    def ladder(self, call_id: str) -> Answer:
        """The SIP messages of a call, live or over not long ago, as arrows between its parties."""
        legs = self._legs(text_of(call_id, "ladder"))
        drawn = ladder_of(self._service.messages.of([leg for _, leg in legs]), legs)
        if not legs:
            raise OperationError(f"nobody was rung in call {call_id}")
        if not drawn.arrows:
            raise OperationError(f"the messages of {call_id} are not kept any more")
        parties = [{"party": party, "address": address} for party, address in drawn.parties]
        messages = [
            {"seconds": round(one.seconds, 3), "party": drawn.parties[one.party][0], "sent": one.sent, "message": one.text}
            for one in drawn.arrows
        ]
        return Told(drawn.draw(), {"parties": parties, "messages": messages})

    def trace(self, number: str | None = None, file: str | None = None, off: bool = False) -> Answer:
        """The SIP messages of a number, here as they go by or into a file (.pcap, .txt); off=True ends it; no number: what is traced."""
        if number is None:
            rows = [(one.number, one.to, one.count) for one in self._traces.running]
            return Table(("number", "to", "messages"), rows, "nothing is traced")
        number = text_of(number, "trace")
        if off:
            ended = self._traces.end_of(number, self._terminal)
            if not ended:
                raise OperationError(f"there is no trace of {number}; trace() lists them")
            count = sum(one.count for one in ended)
            return Told(f"the trace of {number} is off; it had {count} messages", {"number": number, "messages": count})
        if file is not None:
            _, path = self._traces.to_file(number, text_of(file, "trace"))
            return Told(f'{number} is traced into {path}; trace("{number}", off=True) ends it', {"number": number, "file": str(path)})
        self._traces.to_terminal(number, self._terminal, self._terminal.write)
        return Told(f'{number} is traced here; trace("{number}", off=True) ends it', {"number": number})

    def sizes(self) -> Answer:
        """The length of every table: those of calls, all zero once none has been for a while, and those that stand."""
        return Fields(sizes_of(self._service, traces=len(self._traces.running)))

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
        raise self._operations.no_call(call_id)
