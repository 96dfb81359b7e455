"""A store in memory that commits at once, or when told to."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from pbx.interfaces import IStore
from pbx.store.errors import StoreError

T = TypeVar("T")


@implementer(IStore)
class MemoryStore:
    """
    What was stored stays in the attributes, for a second exchange to begin with: a restart.

    Attributes:
        bindings: By address of record.
        call_records: By call: whether it is finished, and its JSON.
        values: By namespace and key.
        full: When true every write fails, as on a full disk.
    """

    def __init__(self) -> None:
        self.bindings: dict[str, list[dict[str, Any]]] = {}
        self.call_records: dict[str, tuple[bool, str]] = {}
        self.values: dict[tuple[str, str], str] = {}
        self.full = False

    def open(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def save_bindings(self, aor: str, bindings: list[dict[str, Any]]) -> Deferred[None]:
        return self._write(self.bindings, aor, bindings)

    def load_bindings(self) -> Deferred[dict[str, list[dict[str, Any]]]]:
        return succeed(dict(self.bindings))

    def begin_record(self, call_id: str, record: str) -> Deferred[None]:
        return self._write(self.call_records, call_id, (False, record))

    def finish_record(self, call_id: str, record: str) -> Deferred[None]:
        return self._write(self.call_records, call_id, (True, record))

    def unfinished_records(self) -> Deferred[list[tuple[str, str]]]:
        return succeed([(call_id, text) for call_id, (finished, text) in self.call_records.items() if not finished])

    def records(self, limit: int = 100, before: int | None = None) -> Deferred[list[tuple[int, str, str]]]:
        finished = [(place, call_id, text) for place, (call_id, (done, text)) in enumerate(self.call_records.items()) if done]
        return succeed([row for row in reversed(finished) if before is None or row[0] < before][:limit])

    def put(self, namespace: str, key: str, value: str) -> Deferred[None]:
        return self._write(self.values, (namespace, key), value)

    def get(self, namespace: str, key: str) -> Deferred[str | None]:
        return succeed(self.values.get((namespace, key)))

    def delete(self, namespace: str, key: str) -> Deferred[None]:
        if self.full:
            return fail(StoreError("no space left on device"))
        self.values.pop((namespace, key), None)
        return succeed(None)

    def items(self, namespace: str) -> Deferred[list[tuple[str, str]]]:
        return succeed([(key, value) for (space, key), value in self.values.items() if space == namespace])

    def sizes(self) -> dict[str, int]:
        return {"store_waiting": 0}

    def _write(self, table: dict[Any, Any], key: Any, value: T) -> Deferred[None]:
        if self.full:
            return fail(StoreError("no space left on device"))
        table[key] = value
        return succeed(None)
