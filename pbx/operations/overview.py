"""
What the answers of operations are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from pbx import interfaces
from pbx.config import CORE
from pbx.discovery import interfaces_of, shown
from pbx.net.address import shown_address
from pbx.operations.answers import Answer, Fields, Table
from pbx.settings import Settings

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange
    from pbx.config import Loaded
    from pbx.service import PbxService

BLANKED = "***"
OF_CALLS = ("calls", "legs", "dialogs", "call_transactions", "call_timers", "media_ports")
"""The tables that are empty once no call has been for 64*T1."""


def call_rows(exchange: Exchange) -> list[tuple[Any, ...]]:
    """A row for each live call: its seconds count from the answer, or before that from the beginning."""
    now = exchange.wall()
    return [
        (
            call.call_id,
            call.caller.number,
            call.dialled,
            call.called,
            call.phase.value,
            round(now - (call.answered_at or call.begun_at), 1),
            len(call.legs),
        )
        for call in exchange.calls.values()
    ]


def call_details(record: dict[str, Any], phase: str, routing: Answer) -> Fields:
    """One call, from its record as it stands; what only its end can tell is left open before."""
    names = ("call_id", "caller", "dialled", "called")
    fields: dict[str, Any] = {name: record[name] for name in names}
    fields["phase"] = phase
    unknown = () if phase == "over" else ("ended", "outcome")
    for name in ("begun", "answered", "ended"):
        fields[name] = None if name in unknown else moment(record[name])
    for name in ("duration", "outcome", "status", "reason"):
        fields[name] = None if name in unknown else record[name]
    fields["legs"] = Table(("peer", "uri", "status"), [(leg["peer"], leg["uri"], leg["status"]) for leg in record["legs"]], "none")
    media = [{"peer": leg["peer"], **stream} for leg in record["legs"] for stream in leg["media"]]
    columns = list(dict.fromkeys(key for row in media for key in row))
    fields["media"] = Table(columns, [[row.get(column) for column in columns] for row in media], "none")
    fields["routing"] = routing
    return Fields(fields)


def registration_rows(service: PbxService) -> list[tuple[Any, ...]]:
    """A row for each binding that has not expired."""
    now = service.driver.now()
    rows = []
    for aor, binding in service.location:
        flow = binding.flow
        address = shown_address(flow.remote) if flow is not None else None
        transport = flow.transport if flow is not None else binding.flow_key.partition(" ")[0]
        left = round(binding.expires_at - now)
        rows.append((aor, binding.contact, address, transport, left, binding.reachable(now), binding.user_agent))
    return rows


def plugin_rows(service: PbxService) -> list[tuple[Any, ...]]:
    """A row for each plugin."""
    rows = []
    for name, instance in service.generation.instances.items():
        provides = [one.__name__ for one in interfaces_of(instance) if one.__module__ == interfaces.__name__]
        runs = bool(instance.running) if IService.providedBy(instance) else None
        rows.append((name, shown(service.loaded.plugins[name].file), provides, runs))
    return rows


def sizes_of(service: PbxService, **more: int) -> dict[str, Any]:
    """Every table with its length: those of calls, and under ``standing`` all others; ``more``: of tables that whoever asks has himself."""
    exchange = service.exchange
    found = {
        "calls": len(exchange.calls),
        "legs": sum(len(call.legs) for call in exchange.calls.values()),
        "dialogs": len(exchange.stack.dialogs),
        **service.driver.sizes(),
        **service.media.sizes(),
        "merged_requests": len(exchange.stack.incoming),
        "claims": len(exchange.claims),
        "bindings": len(service.location),
        "nonces": service.challenger.nonces,
        **service.guard.sizes(),
        **service.transports.sizes(),
        **service.store.sizes(),
        **service.prober.sizes(),
        **service.resolver.sizes(),
        **service.user_agent.sizes(),
        "recent_calls": len(exchange.recent),
        "kept_messages": len(service.messages),
        **more,
    }
    for name, instance in service.generation.instances.items():
        if callable(getattr(instance, "sizes", None)):
            found.update({f"{name}.{table}": length for table, length in instance.sizes().items()})
    # A table that some part does not have here counts as empty.
    return {
        **{name: found.get(name, 0) for name in OF_CALLS},
        "standing": {name: length for name, length in sorted(found.items()) if name not in OF_CALLS},
    }


def settings_of(loaded: Loaded) -> dict[str, Any]:
    """The configuration, without its secrets, as JSON has it."""
    configuration = loaded.configuration
    found: dict[str, Any] = {"language": configuration.language}
    for name in CORE:
        found[name] = _plain(getattr(configuration, name))
    for name, table in sorted(configuration.tables.items()):
        if isinstance(table, Mapping):
            found[name] = {key: _entry(entry, name, loaded) for key, entry in table.items()}
        elif table is not None:
            found[name] = _plain(table)
    return found


def moment(at: float) -> str | None:
    """Unix time as local time; None for 0.0, "not yet"."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else None


def _entry(entry: Settings, table: str, loaded: Loaded) -> dict[str, Any]:
    """An entry of a table of tables, with what other plugins have added to it."""
    values: dict[str, Any] = _plain(entry)
    for name, plugin in loaded.plugins.items():
        if plugin.settings_for(table) is not None:
            values.update(_plain(entry.of(name)))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        kind = type(value)
        return {
            name: (BLANKED if content else "") if kind.is_secret(name) else _plain(content)
            for name in kind.model_fields
            for content in (getattr(value, name),)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(content) for content in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Path):
        return str(value)
    return value.isoformat() if isinstance(value, date | time) else value
