"""
The records of a name, remembered: TTLs, shared questions, aliases, and old answers while DNS is dead.

An answer is kept for its TTL (RFC 2181 §8), "there is none" for some seconds (RFC 2308 §5), a failure for some too
(RFC 2308 §7). Questions that are equal and asked at once are one question; who stops waiting for it does not end it
for the others. When the servers fail, an expired answer is good for another hour (RFC 8767).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from pbx.net.dns_client import Unanswered, server_name
from pbx.net.dns_message import NamingPointer, Service, is_host_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from pbx.net.dns_client import DnsClient, Reply, Server
    from pbx.net.dns_message import Record

LONGEST_KEPT = 86400.0
"""Seconds; a TTL may be longer."""
LONGEST_MISSING = 30.0
"""Seconds that "there is none" is kept at most: a carrier that has mended its zone is found soon."""
MISSING_UNSAID = 5.0
"""The same, where the answer has no SOA record that says."""
FAILED_FOR = 5.0
"""Seconds that nobody is asked again after all servers have failed: who asks gets the old answer, or the same error at once."""
STALE_FOR = 3600.0
"""Seconds that an expired answer may still be used."""
STALE_AFTER = 1.8
"""Seconds that one who has an expired answer waits for a new one (RFC 8767 §5)."""

MOST_ALIASES = 8
MOST_VALUES = 64
MOST_KEPT = 2000
MOST_RUNNING = 256

Key = tuple[str, str]
"""Name in small letters, and kind of record."""


class LookupFailed(Exception):
    """Nobody could say: the text is a sentence without the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What is known of one kind of record of a name.

    Attributes:
        values: Addresses, services, pointers; none if there are none.
        until: When it expires, by the clock.
        server: Who said so.
        missing: ``"NXDOMAIN"`` if there is no such name at all, ``"none"`` if it has no such records, else "".
        extra: Records that came with the answer, of names that it refers to.
    """

    values: tuple[Any, ...]
    until: float
    server: str
    missing: str = ""
    extra: Mapping[Key, tuple[Any, ...]] = field(default_factory=dict)


class Lookups:
    """
    Looks records up.

    Args:
        clock: Time.
        client: Asks.
        servers: Gives the servers, in the order in which they are to be asked.
        timeout: Seconds for one look-up, whatever it takes.
        log: Told when DNS dies and when it is back.
    """

    def __init__(self, clock: IReactorTime, client: DnsClient, servers: Callable[[], Sequence[Server]], timeout: float, log: Any) -> None:
        self._clock = clock
        self._client = client
        self._servers = servers
        self._timeout = timeout
        self._log = log
        self._kept: dict[Key, Found] = {}
        self._failed: dict[Key, tuple[float, str]] = {}
        self._running: dict[Key, list[Deferred[Found]]] = {}
        self._answered_last: Server | None = None
        self._told: dict[Key, None] = {}

    def configure(self, timeout: float) -> None:
        """Take ``timeout`` for what is looked up from now on, and forget what others than the present servers may have said."""
        self._timeout = timeout
        self.forget()

    def known(self, key: Key) -> Found | None:
        """What is remembered and still good."""
        kept = self._kept.get(key)
        return kept if kept is not None and self._clock.seconds() < kept.until else None

    def find(self, name: str, kind: str) -> Deferred[Found]:
        """
        The ``kind`` records of ``name`` (in small letters), or that there are none.

        Raises:
            LookupFailed: By the Deferred: no server could say, and nothing old is there either.
        """
        if not is_host_name(name):
            return fail(LookupFailed(f"{name[:100]!r} is no host name"))
        key = (name, kind)
        now = self._clock.seconds()
        known = self.known(key)
        if known is not None:
            return succeed(known)
        stale = self._stale(key)
        failed = self._failed.get(key)
        if failed is not None and now < failed[0]:
            return succeed(stale) if stale is not None else fail(LookupFailed(failed[1]))
        running = self._running.get(key)
        begins = running is None
        if running is None:
            if len(self._running) >= MOST_RUNNING:
                return fail(LookupFailed(f"{MOST_RUNNING} other names are being looked up"))
            running = self._running[key] = []
        waiter: Deferred[Found] = Deferred(running.remove)
        running.append(waiter)
        if stale is not None:
            self._wait_no_longer(waiter, key, stale)
        if begins:
            Deferred.fromCoroutine(self._look_up(name, kind)).addBoth(self._over, key)
        return waiter

    def forget(self) -> None:
        """Forget all answers; what is being asked goes on."""
        self._kept.clear()
        self._failed.clear()

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables, for the shell."""
        return {"dns_answers": len(self._kept), "dns_questions": len(self._running)}

    def _wait_no_longer(self, waiter: Deferred[Found], key: Key, stale: Found) -> None:
        def enough() -> None:
            self._running[key].remove(waiter)
            self._say_stale(key, f"no answer within {STALE_AFTER:g} s")
            waiter.callback(stale)

        def stop(result: Any) -> Any:
            if call.active():
                call.cancel()
            return result

        call = self._clock.callLater(min(STALE_AFTER, self._timeout), enough)
        waiter.addBoth(stop)

    def _over(self, result: Found | Failure, key: Key) -> None:
        waiters = self._running.pop(key)
        if isinstance(result, Failure):
            error = result.value
            if not isinstance(error, LookupFailed):
                self._log.failure("looking up {name} broke", result, name=" ".join(key))
                error = LookupFailed("the look-up broke; the log has all of it")
            _bound(self._failed)
            self._failed[key] = (self._clock.seconds() + FAILED_FOR, str(error))
            stale = self._stale(key)
            if stale is not None:
                self._say_stale(key, str(error))
            outcome: Found | LookupFailed = stale if stale is not None else error
        else:
            outcome = result
            self._keep(key, result)
        for waiter in list(waiters):
            # One may have been cancelled by what another did when it heard.
            if not waiter.called:
                waiter.callback(outcome) if isinstance(outcome, Found) else waiter.errback(LookupFailed(*outcome.args))

    def _keep(self, key: Key, found: Found) -> None:
        self._failed.pop(key, None)
        # The one that has just come is the youngest; the oldest goes when the table is full.
        self._kept.pop(key, None)
        _bound(self._kept)
        self._kept[key] = found
        if key in self._told:
            del self._told[key]
            self._log.info("{kind} of {name}: DNS answers again", name=key[0], kind=key[1])

    def _stale(self, key: Key) -> Found | None:
        """The expired answer, if it may still be used: "there is none" may not."""
        kept = self._kept.get(key)
        return kept if kept is not None and kept.values and self._clock.seconds() < kept.until + STALE_FOR else None

    def _say_stale(self, key: Key, why: str) -> None:
        """Once, until it can be looked up again."""
        if key not in self._told:
            _bound(self._told)
            self._told[key] = None
            text = "{kind} of {name}: DNS fails ({why}); what was found before is used for at most an hour"
            self._log.warn(text, name=key[0], kind=key[1], why=why)

    async def _look_up(self, name: str, kind: str) -> Found:
        end = self._clock.seconds() + self._timeout
        trail = Trail(name)
        while True:
            left = end - self._clock.seconds()
            if left <= 0:
                raise LookupFailed(f"its aliases took longer than {self._timeout:g} s")
            asked = trail.name
            try:
                reply = await self._client.ask(asked, kind, self._order(), left)
            except Unanswered as error:
                raise LookupFailed(f"asked for {kind}: {error}") from None
            self._answered_last = reply.server
            found = trail.follow(reply, kind)
            if found or trail.name == asked or reply.message.response == "NXDOMAIN" or _minimum(reply) is not None:
                return self._found(reply, found, trail.ttl)

    def _order(self) -> list[Server]:
        """The servers; the one that answered last first, so that a dead one costs its pause once and not each time."""
        servers = list(self._servers())
        if self._answered_last in servers:
            servers.remove(self._answered_last)
            servers.insert(0, self._answered_last)
        return servers

    def _found(self, reply: Reply, records: list[Record], ttl: float) -> Found:
        now = self._clock.seconds()
        server = server_name(reply.server)
        if not records:
            minimum = _minimum(reply)
            kept = MISSING_UNSAID if minimum is None else min(minimum, LONGEST_MISSING)
            return Found((), now + kept, server, "NXDOMAIN" if reply.message.response == "NXDOMAIN" else "none")
        values = tuple(record.value for record in records[:MOST_VALUES])
        wanted = {value.target for value in values if isinstance(value, Service)}
        wanted |= {value.replacement for value in values if isinstance(value, NamingPointer)}
        extra: dict[Key, tuple[Any, ...]] = {}
        for record in reply.message.additional:
            # Only names that the answer itself refers to, and only with it: nobody else's records are learned from it.
            if record.name in wanted and record.ttl:
                extra[record.name, record.kind] = (*extra.get((record.name, record.kind), ()), record.value)
                ttl = min(ttl, record.ttl)
        return Found(values, now + min(ttl, *(record.ttl for record in records), LONGEST_KEPT), server, "", extra)


class Trail:
    """The way from a name through its aliases."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ttl = LONGEST_KEPT
        self._aliases = 0

    def follow(self, reply: Reply, kind: str) -> list[Record]:
        """
        The records at the end of the aliases in this answer; none if they lead out of it.

        Raises:
            LookupFailed: The aliases are too many, or go in a circle.
        """
        while True:
            own = [record for record in reply.message.answers if record.name == self.name]
            found = [record for record in own if record.kind == kind]
            alias = next((record for record in own if record.kind == "CNAME"), None)
            if found or alias is None:
                return found
            self._aliases += 1
            if self._aliases > MOST_ALIASES:
                raise LookupFailed(f"asked for {kind}: {server_name(reply.server)} leads through more than {MOST_ALIASES} aliases")
            if not is_host_name(alias.value):
                raise LookupFailed(f"asked for {kind}: {server_name(reply.server)} leads to {alias.value!r}, which is no host name")
            self.ttl = min(self.ttl, alias.ttl)
            self.name = alias.value


def _minimum(reply: Reply) -> int | None:
    """Seconds that "there is none" may be kept: the smaller one of the SOA's TTL and its minimum (RFC 2308 §5)."""
    return next((min(record.ttl, record.value) for record in reply.message.authority if record.kind == "SOA"), None)


def _bound(table: dict[Key, Any]) -> None:
    if len(table) >= MOST_KEPT:
        for key in list(table)[: MOST_KEPT // 4]:
            del table[key]
