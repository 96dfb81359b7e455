"""
The guard: who is too fast, who guesses passwords, who is banned (RELIABILITY demand 12).

Pure on ``now``. Three tables, each bounded: buckets of requests by address, tries by
address and user name, failed proofs and bans by address. Most that come on the open Internet prove
nothing; they cost one look into a table, and past their rate nothing more.

A failed proof is a wrong response to a nonce of ours that went to that very address: a
forged source address cannot have seen it, so nobody can have another banned. First
requests without credentials never count.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pbx.net.address import Networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.logger import Logger

_MOST = 4096
_MINUTE = 60.0


class Ban(NamedTuple):
    """A ban in force."""

    address: str
    until: float
    """On the clock that the guard is asked with."""
    proofs: int
    """Failed proofs that led to it."""


class _Tally:
    """Failed proofs of one address; half of them are forgiven each ``ban_for`` seconds."""

    __slots__ = ("at", "failed")

    def __init__(self, now: float) -> None:
        self.failed = 0.0
        self.at = now


class Guard:
    """
    Decides who is heard.

    Args:
        rate: Requests a second from one address that prove nothing.
        burst: So many at once.
        tries: Wrong tries a minute for one user name from one address.
        ban_after: Failed proofs until an address is banned; 0: never.
        ban_for: Seconds of a ban, and the half-life of failed proofs.
        exempt: Addresses and networks that are neither slowed nor banned.
        log: Hears of failed proofs and bans, in lines that fail2ban can read.
        spared: Whether an address is never banned: it has live bindings, or is a line's or a trunk's. Asked at the moment of a ban.

    Raises:
        ValueError: ``exempt`` has something that is no address or network.
    """

    def __init__(
        self,
        *,
        rate: float = 50.0,
        burst: int = 100,
        tries: int = 10,
        ban_after: int = 20,
        ban_for: float = 3600.0,
        exempt: Iterable[str] = (),
        log: Logger | None = None,
        spared: Callable[[str], bool] | None = None,
        most: int = _MOST,
    ) -> None:
        self.spared = spared or (lambda _: False)
        self.dropped: dict[str, int] = {"banned": 0, "too fast": 0}
        """What was not heard, by reason."""
        self._log = log
        self._most = most
        # Address to [requests left, when that was so, at most].
        self._buckets: dict[str, list[float]] = {}
        # Address and user name to [tries left, when that was so].
        self._by_user: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()
        self._banned: dict[str, float] = {}
        self.configure(rate=rate, burst=burst, tries=tries, ban_after=ban_after, ban_for=ban_for, exempt=exempt)

    def configure(
        self,
        *,
        rate: float = 50.0,
        burst: int = 100,
        tries: int = 10,
        ban_after: int = 20,
        ban_for: float = 3600.0,
        exempt: Iterable[str] = (),
    ) -> None:
        """Take other limits from now on; parameters as when it was made. Bans stay, but for those who are exempt now."""
        self._exempt = Networks(exempt)
        self._rate = rate
        self._burst = float(burst)
        self._tries = tries
        self._ban_after = ban_after
        self._ban_for = ban_for
        self._buckets.clear()  # each bears the burst of its address
        for address in [address for address in self._banned if self._exempt.contains(address)]:
            self.lift(address)

    def admits(self, address: str, data: bytes, now: float) -> bool:
        """
        Whether a message from ``address`` is heard; to be asked once for each, before it is parsed.

        Responses are not counted: those that answer nothing of ours are dropped unparsed.
        """
        if self._banned:
            until = self._banned.get(address)
            if until is not None:
                if now < until:
                    self.dropped["banned"] += 1
                    return False
                del self._banned[address]
        if data[:4] == b"SIP/":
            return True
        bucket = self._buckets.get(address)
        if bucket is None:
            self._open_bucket(address, now)
            return True
        left = bucket[0] + (now - bucket[1]) * self._rate
        bucket[1] = now
        if left >= 1.0:
            burst = bucket[2]
            bucket[0] = (min(burst, left)) - 1.0
            return True
        bucket[0] = left
        self.dropped["too fast"] += 1
        return False

    def proved(self, address: str) -> None:
        """A request from ``address`` has proved something: trust, valid credentials, a dialog. Its bucket is full again."""
        bucket = self._buckets.get(address)
        if bucket is not None:
            bucket[0] = bucket[2]

    def may_try(self, address: str, user: str, now: float) -> bool:
        """
        Whether credentials for ``user`` from ``address`` are looked at now; to be asked before they are checked.

        ``tries`` wrong ones a minute, then none until some time has passed, right or wrong. The count is of this name
        from this address: guessing elsewhere does not lock the true user out, and of many phones behind one
        address only the one that guesses is slowed.
        """
        return self._left(self._by_user.get((address, user)), now) >= 1.0

    def failed(self, address: str, user: str, why: str, now: float) -> None:
        """Note a failed proof: a wrong response to a nonce that went to this very address."""
        if self._log is not None:
            self._log.warn("auth-fail ip={ip} user={user} why={why}", ip=address, user=_plain(user), why=_plain(why))
        if self._exempt.contains(address):
            return
        self._note_try((address, user), now)
        tally = self._tallies.get(address)
        if tally is None:
            if len(self._tallies) >= self._most:
                self._tallies.popitem(last=False)
            tally = self._tallies[address] = _Tally(now)
        self._tallies.move_to_end(address)
        tally.failed = tally.failed * 0.5 ** ((now - tally.at) / self._ban_for) + 1.0
        tally.at = now
        # Half a proof is forgiven at once: twenty in a row count as twenty though the first has decayed a little.
        if self._ban_after and tally.failed > self._ban_after - 0.5 and not self.spared(address):
            self.ban(address, now)

    def ban(self, address: str, now: float) -> None:
        """Hear nothing from ``address`` for ``ban_for`` seconds."""
        if len(self._banned) >= self._most:
            # The one that would end first makes room.
            del self._banned[min(self._banned, key=self._banned.__getitem__)]
        self._banned[address] = now + self._ban_for
        if self._log is not None:
            self._log.warn("banned ip={ip} seconds={seconds}", ip=address, seconds=int(self._ban_for))

    def bans(self, now: float) -> list[Ban]:
        """The bans in force, those that end soonest first."""
        for address in [address for address, until in self._banned.items() if until <= now]:
            del self._banned[address]
        found = [
            Ban(address, until, round(self._tallies[address].failed) if address in self._tallies else 0)
            for address, until in self._banned.items()
        ]
        return sorted(found, key=lambda ban: ban.until)

    def lift(self, address: str) -> bool:
        """End a ban and forget the failed proofs; whether there was one."""
        self._tallies.pop(address, None)
        return self._banned.pop(address, None) is not None

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables, for the shell."""
        return {
            "rates": len(self._buckets),
            "user_tries": len(self._by_user),
            "failed_proofs": len(self._tallies),
            "bans": len(self._banned),
        }

    def _left(self, bucket: list[float] | None, now: float) -> float:
        """How many tries of this minute are left."""
        if bucket is None:
            return float(self._tries)
        return min(float(self._tries), bucket[0] + (now - bucket[1]) * self._tries / _MINUTE)

    def _note_try(self, who: tuple[str, str], now: float) -> None:
        bucket = self._by_user.get(who)
        if bucket is None and len(self._by_user) >= self._most:
            self._by_user.popitem(last=False)
        self._by_user[who] = [self._left(bucket, now) - 1.0, now]
        self._by_user.move_to_end(who)

    def _open_bucket(self, address: str, now: float) -> None:
        if len(self._buckets) >= self._most:
            self._make_room(now)
        burst = inf if self._exempt.contains(address) else self._burst
        self._buckets[address] = [burst - 1.0, now, burst]

    def _make_room(self, now: float) -> None:
        """Forget those that have been quiet long enough to have a full bucket; if all are busy, the older half."""
        full_after = self._burst / self._rate
        for address in [address for address, (_, at, _) in self._buckets.items() if now - at >= full_after]:
            del self._buckets[address]
        if len(self._buckets) >= self._most:
            for address in list(self._buckets)[: self._most // 2]:
                del self._buckets[address]


def _plain(text: str) -> str:
    """A value for a log line of ``name=value`` pairs: one word, no controls, clipped."""
    return "".join(letter if letter.isprintable() and not letter.isspace() else "_" for letter in text[:64]) or "-"
