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
    """The calls of each peer."""

    def __init__(self) -> None:
        self._calls: dict[_Key, dict[str, int]] = {}

    def claim(self, call: Call, peer: Peer) -> bool:
        """Count ``call`` for ``peer``; False, and nothing is counted, when it has all the calls it may have."""
        held = self._calls.setdefault((peer.kind, peer.name), {})
        if call.call_id not in held and peer.max_calls and len(held) >= peer.max_calls:
            return False
        held[call.call_id] = held.get(call.call_id, 0) + 1
        return True

    def release(self, call: Call, peer: Peer) -> None:
        """Take one claim back."""
        key = (peer.kind, peer.name)
        held = self._calls.get(key)
        if held is None or call.call_id not in held:
            return
        held[call.call_id] -= 1
        if not held[call.call_id]:
            del held[call.call_id]
        if not held:
            del self._calls[key]

    def release_all(self, call: Call, peers: list[Peer]) -> None:
        """Take back all that is left of a call that is over."""
        for peer in peers:
            key = (peer.kind, peer.name)
            held = self._calls.get(key)
            if held is not None and held.pop(call.call_id, None) is not None and not held:
                del self._calls[key]

    def of(self, peer: Peer) -> int:
        """How many calls ``peer`` has."""
        return len(self._calls.get((peer.kind, peer.name), ()))

    def __len__(self) -> int:
        return len(self._calls)
