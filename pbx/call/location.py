"""
Where the devices are: the bindings of every address of record, in memory, on disk before they are confirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from pbx.call.peer import Peer, Target
from pbx.interfaces import ILocationService
from pbx.sip import registrar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from pbx.interfaces import IStore
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.sip.registrar import Binding, Refusal, RegisterLimits, Update

_SWEEP = 30.0
"""Seconds between two sweeps for what has expired; nothing expired is ever served in between."""


@implementer(ILocationService)
class Location:
    """The bindings of one exchange."""

    def __init__(self, directory: dict[str, Peer], store: IStore, clock: IReactorTime, wall: Callable[[], float]) -> None:
        """
        Args:
            directory: The peers of this exchange, by number.
            store: Where bindings outlive the process.
            clock: For expiry.
            wall: Seconds of Unix time; what is stored is stamped with it.
        """
        self._directory = directory
        self._store = store
        self._clock = clock
        self._wall = wall
        self._bindings: dict[str, list[Binding]] = {}
        self._confirmed: dict[str, list[Binding]] = {}  # what is on disk, to go back to when a write fails
        self._addresses: dict[str, int] = {}  # how many live bindings came from an address
        self._sweeping: IDelayedCall | None = None

    def restore(self, rows: dict[str, list[dict[str, Any]]], find_flow: Callable[[str], Flow | None]) -> int:
        """Take what the last process has left; ``find_flow`` gives the way back from a flow's key. Returns how many are live."""
        now, wall = self._clock.seconds(), self._wall()
        for aor, kept in rows.items():
            if aor not in self._directory:
                continue
            bindings = [registrar.restored(row, now, wall, find_flow(str(row["flow_key"]))) for row in kept]
            self._replace(aor, [binding for binding in bindings if binding.expires_at > now])
            self._note(None, aor, self._bindings.get(aor, []))
        self._sweep_later()
        return len(self)

    async def contacts(self, aor: str) -> list[Target]:
        """The reachable devices of ``aor``, by preference."""
        return self.targets(aor)

    def targets(self, aor: str) -> list[Target]:
        """As `contacts`, at once."""
        peer = self._directory.get(aor)
        if peer is None:
            return []
        live = [binding for binding in self.of(aor) if binding.flow is not None and binding.flow.alive]
        live.sort(key=lambda binding: -binding.q)
        return [Target(binding.contact, peer, binding.flow, routes=binding.path) for binding in live]

    def of(self, aor: str) -> list[Binding]:
        """The bindings of ``aor`` that have not expired, also those whose connection is gone."""
        now = self._clock.seconds()
        return [binding for binding in self._bindings.get(aor, ()) if binding.expires_at > now]

    def judge(self, aor: str, request: Request, flow: Flow, limits: RegisterLimits) -> Update | Refusal:
        """What a REGISTER would come to; nothing is changed yet."""
        return registrar.update(self._bindings.get(aor, []), request, flow, self._clock.seconds(), limits, aor=aor)

    def apply(self, aor: str, update: Update) -> Deferred[None] | None:
        """Put it into force; fires when it is on disk (None: nothing had to be written). If that fails, all is as it was."""
        self._replace(aor, update.bindings)
        self._sweep_later()
        if not update.to_store:
            return None
        saved = self._save(aor)
        saved.addCallbacks(self._note, self._undo, callbackArgs=(aor, update.bindings), errbackArgs=(aor, update.bindings))
        return saved

    def remove(self, aor: str) -> int:
        """Forget all bindings of ``aor``. Returns how many there were."""
        count = len(self.of(aor))
        self._replace(aor, [])
        self._save_in_passing(aor)
        return count

    def is_bound(self, address: str) -> bool:
        """Whether a live binding came from this source address."""
        return address in self._addresses

    def __iter__(self) -> Iterator[tuple[str, Binding]]:
        for aor in sorted(self._bindings):
            for binding in self.of(aor):
                yield aor, binding

    def __len__(self) -> int:
        return sum(len(bindings) for bindings in self._bindings.values())

    def devices(self) -> int:
        """The number of distinct devices that are registered now."""
        now = self._clock.seconds()
        return sum(binding.expires_at > now for bindings in self._bindings.values() for binding in bindings)

    def stop(self) -> None:
        """Sweep no more."""
        if self._sweeping is not None and self._sweeping.active():
            self._sweeping.cancel()
        self._sweeping = None

    def _replace(self, aor: str, bindings: list[Binding]) -> None:
        self._count(self._bindings.get(aor, ()), -1)
        self._count(bindings, 1)
        if bindings:
            self._bindings[aor] = bindings
        else:
            self._bindings.pop(aor, None)

    def _count(self, bindings: Iterable[Binding], step: int) -> None:
        for binding in bindings:
            if binding.flow is not None:
                address = binding.flow.remote[0]
                count = self._addresses.get(address, 0) + step
                if count:
                    self._addresses[address] = count
                else:
                    self._addresses.pop(address, None)

    def _save(self, aor: str) -> Deferred[None]:
        now, wall = self._clock.seconds(), self._wall()
        return self._store.save_bindings(aor, [registrar.stored(binding, now, wall) for binding in self._bindings.get(aor, ())])

    def _save_in_passing(self, aor: str) -> None:
        """Nobody waits for it, and if it fails nothing false is ever served: what has expired is not taken at the next start."""
        bindings = self._bindings.get(aor, [])
        self._save(aor).addCallbacks(self._note, lambda _: None, callbackArgs=(aor, bindings))

    def _note(self, _: None, aor: str, bindings: list[Binding]) -> None:
        if bindings:
            self._confirmed[aor] = bindings
        else:
            self._confirmed.pop(aor, None)

    def _undo(self, failure: Failure, aor: str, bindings: list[Binding]) -> Failure:
        # If something newer is in force by now, its own write decides.
        if self._bindings.get(aor, []) == bindings:
            self._replace(aor, self._confirmed.get(aor, []))
        return failure

    def _sweep_later(self) -> None:
        if self._sweeping is None and self._bindings:
            self._sweeping = self._clock.callLater(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock.seconds()
        for aor in [aor for aor, bindings in self._bindings.items() if any(binding.expires_at <= now for binding in bindings)]:
            self._replace(aor, self.of(aor))
            self._save_in_passing(aor)
        self._sweep_later()
