"""
Claims: how many calls each peer has, against how many it may have.

A claim is made synchronously at the moment of dialling, so two calls never take the same last place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.peer import Kind, Peer

_Key = tuple["Kind", str]


class Claims:
    """The calls of each peer, and of those that came from it."""

    def __init__(self) -> None:
        self._calls: dict[_Key, dict[str, int]] = {}
        self._incoming: dict[_Key, set[str]] = {}  # only of peers for which the direction matters

    def claim(self, call: Call, peer: Peer, *, incoming: bool = False, in_place_of_another: bool = False) -> bool:
        """
        Count ``call`` for ``peer``; False, and nothing is counted, when it has all the calls it may have.

        Args:
            call: Counts once, however often it is claimed.
            peer: Whose limits count.
            incoming: It comes from ``peer``.
            in_place_of_another: It takes the place of a call that ``peer`` has already, so there is room.
        """
        key = (peer.kind, peer.name)
        held = self._calls.get(key)
        if held is None:
            held = self._calls[key] = {}
        if call.call_id not in held:
            if not in_place_of_another and self._has_no_room(peer, incoming=incoming):
                if not held:
                    del self._calls[key]
                return False
            if incoming and (peer.max_incoming is not None or peer.max_outgoing is not None):
                self._incoming.setdefault(key, set()).add(call.call_id)
        held[call.call_id] = held.get(call.call_id, 0) + 1
        return True

    def is_full(self, peer: Peer) -> bool:
        """Whether no further call may go to ``peer``."""
        return self._has_no_room(peer, incoming=False)

    def release(self, call: Call, peer: Peer) -> None:
        """Take one claim back."""
        key = (peer.kind, peer.name)
        held = self._calls.get(key)
        if held is None or call.call_id not in held:
            return
        held[call.call_id] -= 1
        if not held[call.call_id]:
            self._forget(key, held, call.call_id)

    def release_all(self, call: Call, peers: list[Peer]) -> None:
        """Take back all that is left of a call that is over."""
        for peer in peers:
            key = (peer.kind, peer.name)
            held = self._calls.get(key)
            if held is not None and call.call_id in held:
                self._forget(key, held, call.call_id)

    def of(self, peer: Peer) -> int:
        """How many calls ``peer`` has."""
        return len(self._calls.get((peer.kind, peer.name), ()))

    def __len__(self) -> int:
        return len(self._calls)

    def _has_no_room(self, peer: Peer, *, incoming: bool) -> bool:
        calls = self.of(peer)
        if peer.max_calls and calls >= peer.max_calls:
            return True
        limit = peer.max_incoming if incoming else peer.max_outgoing
        if limit is None:
            return False
        come = len(self._incoming.get((peer.kind, peer.name), ()))
        return (come if incoming else calls - come) >= limit

    def _forget(self, key: _Key, held: dict[str, int], call_id: str) -> None:
        del held[call_id]
        if not held:
            del self._calls[key]
        come = self._incoming.get(key)
        if come is not None:
            come.discard(call_id)
            if not come:
                del self._incoming[key]
