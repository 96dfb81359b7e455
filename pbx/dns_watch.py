"""
Checks the names of all lines and trunks from time to time, and warns when resolvers begin to disagree.

For each name there is one line in the log when its verdict changes (`pbx.dnscheck`), and no more
while it stays as it is. The last results are kept for the shell.
"""

# mypy: disable-error-code="no-untyped-call"
# Twisted's application framework has no types.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred

from pbx.dnscheck import CheckError, checked_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from pbx.dnscheck import DnsCheck

EVERY = 3600.0
"""Seconds between two rounds."""
FIRST = 30.0
"""Seconds after the start, at least; at most three times as many: servers that were started together do not ask together."""
MOST_NAMES = 200


class DnsWatch(Service):
    """
    The timer.

    Args:
        clock: Time.
        hosts: Gives the hosts of lines and trunks; addresses among them are passed over.
        check: Checks one name (`pbx.dnscheck.check_dns`).
        chance: Gives a random number from 0 to 1.
        log: Told of changes.
        every: Seconds between two rounds; 0: never.
    """

    def __init__(
        self,
        clock: IReactorTime,
        hosts: Callable[[], Iterable[str]],
        check: Callable[[str], Awaitable[DnsCheck]],
        chance: Callable[[], float],
        log: Any,
        every: float = EVERY,
    ) -> None:
        self.setName("dns_watch")
        self._clock = clock
        self._hosts = hosts
        self._check = check
        self._chance = chance
        self._log = log
        self._every = every
        self._results: dict[str, DnsCheck] = {}
        self._next: IDelayedCall | None = None
        self._round: Deferred[None] | None = None

    @property
    def results(self) -> Mapping[str, DnsCheck]:
        """The last result of each name that lines and trunks have."""
        return self._results

    def startService(self) -> None:
        super().startService()
        if self._every:
            self._next = self._clock.callLater(FIRST * (1 + 2 * self._chance()), self._begin)

    def stopService(self) -> None:
        super().stopService()
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._round is not None:
            self._round.cancel()

    def _begin(self) -> None:
        self._round = Deferred.fromCoroutine(self._all()).addErrback(self._broke).addBoth(self._over)

    def _over(self, _: object) -> None:
        self._round = None
        if self.running:
            self._next = self._clock.callLater(self._every, self._begin)

    def _broke(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the watch over DNS broke", failure)

    async def _all(self) -> None:
        names = _names(self._hosts())
        for gone in self._results.keys() - set(names):
            del self._results[gone]
        # One after the other: there is time.
        for name in names:
            try:
                check = await self._check(name)
            except CheckError as error:
                self._log.debug("{name} is not checked: {why}", name=name, why=str(error))
                continue
            self._note(name, check)

    def _note(self, name: str, check: DnsCheck) -> None:
        before = self._results.get(name)
        self._results[name] = check
        if check.verdict == (before.verdict if before is not None else "same"):
            return
        tell = self._log.info if check.verdict == "same" else self._log.warn
        tell("DNS of {name}: {verdict}. {sentence}", name=name, verdict=check.verdict, sentence=check.sentence)


def _names(hosts: Iterable[str]) -> list[str]:
    """What of ``hosts`` can be looked up, each once."""
    found: dict[str, None] = {}
    for host in hosts:
        try:
            name = checked_name(host)
        except CheckError:
            continue
        if name != "localhost":
            found[name] = None
    return list(found)[:MOST_NAMES]
