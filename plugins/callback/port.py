"""The callback port: whom it listens to, what it answers, and how long it repeats itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from pbx.api import IPbx

from .callbacks import Ack, Address, Callback, Callbacks, Key, Wanted
from .datagrams import Datagram, Dropped, Method, moment, read, stamp, written

CLOCKS_MAY_DIFFER = 30.0
"""Seconds that ``time`` may be off, either way."""
MOST_REFUSED = 5000
"""Refusals that are kept so that a repeated datagram is refused again."""
_LONGEST_DURATION = 10  # digits

Network = IPv4Network | IPv6Network


class CallbackPort(DatagramProtocol):
    """
    Reads the datagrams of application servers, and answers them.

    Args:
        pbx: The exchange.
        callbacks: What is asked for goes there.
        networks: Who is read; None: anybody.
        secret: Signs every datagram; "": none is signed.
        caller_number: Shown to user 1 where the request names no ``caller1``; "": nobody's.
        retries: How often a RESPONSE is repeated until it is acknowledged.
    """

    noisy = False

    def __init__(
        self, pbx: IPbx, callbacks: Callbacks, networks: tuple[Network, ...] | None, *, secret: str, caller_number: str, retries: int
    ) -> None:
        self._pbx = pbx
        self._callbacks = callbacks
        self._networks = networks
        self._secret = secret
        self._caller_number = caller_number
        self._retries = retries
        self._heard: dict[str, bool] = {}  # addresses that have been judged
        self._repeating: dict[Key, IDelayedCall] = {}
        self._refused: dict[str, Ack] = {}  # by signature: who records a datagram must not have it served later
        self.received = 0
        """Datagrams that were read."""
        self.dropped: Counter[str] = Counter()
        """Datagrams that were not, or got no answer, by reason."""

    def datagramReceived(self, data: bytes, addr: Address) -> None:
        """Nothing that comes here raises, and nobody else's datagram is so much as parsed."""
        if not self._is_heard(addr[0]):
            self._drop("foreign address", addr)
            return
        self.received += 1
        try:
            self._serve(read(data, self._secret), addr)
        except Dropped as dropped:
            self._drop(dropped.reason, addr)
        except Exception:
            self._pbx.log.failure("a datagram from {source} broke the callback port", source=addr[0])

    def respond(self, callback: Callback, after: int = 0) -> None:
        """Say how a callback ended: now, and after 1, 2, 4, ... seconds again, until that is acknowledged; ``after``: of those."""
        self._repeating.pop(callback.key, None)
        if callback.source is None or self.transport is None:
            return
        self._send(Method.RESPONSE, _response(callback), callback.source)
        if after < self._retries:
            seconds = 1.0 if not after else 2.0 ** (after - 1)  # 1, 2, 4, 8 seconds after the first
            self._repeating[callback.key] = self._pbx.clock.callLater(seconds, self.respond, callback, after + 1)

    @property
    def unacknowledged(self) -> int:
        """RESPONSEs that will be repeated."""
        return len(self._repeating)

    def stop(self) -> None:
        """Repeat nothing more."""
        for timer in self._repeating.values():
            timer.cancel()
        self._repeating.clear()

    def _is_heard(self, host: str) -> bool:
        if self._networks is None:
            return True
        known = self._heard.get(host)
        if known is None:
            if len(self._heard) > 1000:
                self._heard.clear()
            known = self._heard[host] = any(ip_address(_plain(host)) in network for network in self._networks)
        return known

    def _serve(self, datagram: Datagram, source: Address) -> None:
        match datagram.method:
            case Method.REQUEST:
                self._requested(datagram, source)
            case Method.CANCEL:
                self._cancelled(datagram, source)
            case Method.ACK:
                self._acknowledged(datagram, source)
            case _:
                raise Dropped("not for us")

    # REQUEST

    def _requested(self, datagram: Datagram, source: Address) -> None:
        ack = self._refused.get(datagram.signature) if datagram.signature else None
        if ack is None:
            ack = self._unfit(datagram)
        if ack is not None:
            self._acknowledge(datagram, ack, source)
            return
        wanted = wanted_of(datagram, self._caller_number)
        asked = Deferred.fromCoroutine(self._ask(datagram, wanted, source))
        asked.addErrback(self._broke, source)

    async def _ask(self, datagram: Datagram, wanted: Wanted, source: Address) -> None:
        ack, callback = await self._callbacks.ask(_plain(source[0]), datagram.id, wanted, source)
        if ack is None:
            return
        self._acknowledge(datagram, ack, source)
        if callback is not None:
            self._pbx.log.info(
                "callback {id} of {source}: {called1} and {called2}",
                id=callback.id,
                source=source[0],
                called1=wanted.called1,
                called2=wanted.called2,
            )
            self._callbacks.start(callback)

    def _unfit(self, datagram: Datagram) -> Ack | None:
        """What is wrong with the form of a REQUEST."""
        pairs = datagram.pairs
        duration = pairs.get("maxduration", "0")
        if not datagram.is_sound or not (duration.isascii() and duration.isdigit() and len(duration) <= _LONGEST_DURATION):
            return Ack.SYNTAX
        if "called1" not in pairs or "called2" not in pairs or (self._secret and "time" not in pairs):
            return Ack.MISSING
        if self._secret and not self._is_now(pairs["time"]):
            raise Dropped("time")
        return None

    def _acknowledge(self, datagram: Datagram, ack: Ack, source: Address) -> None:
        if ack is not Ack.ACCEPTED and datagram.signature:
            if len(self._refused) >= MOST_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[datagram.signature] = ack
        self._send(Method.ACK, (("id", datagram.id), ("result", ack.value)), source)

    # CANCEL and ACK

    def _cancelled(self, datagram: Datagram, source: Address) -> None:
        if self._secret and not self._is_now(datagram.pairs.get("time", "")):
            raise Dropped("time")
        callback = self._of(datagram, source)
        if callback.result is None:
            self._pbx.log.info("callback {id} of {source} is cancelled", id=callback.id, source=source[0])
            callback.cancel("the application server")

    def _acknowledged(self, datagram: Datagram, source: Address) -> None:
        callback = self._of(datagram, source)
        if callback.result is None:
            raise Dropped("early ACK")
        callback.is_acknowledged = True
        timer = self._repeating.pop(callback.key, None)
        if timer is not None:
            timer.cancel()

    def _of(self, datagram: Datagram, source: Address) -> Callback:
        callback = self._callbacks.find(datagram.id, _plain(source[0]))
        if callback is None:
            raise Dropped("unknown id")
        return callback

    def _is_now(self, text: str) -> bool:
        at = moment(text)
        return at is not None and abs(at - self._pbx.wall()) <= CLOCKS_MAY_DIFFER

    def _send(self, method: Method, pairs: Iterable[tuple[str, object]], to: Address) -> None:
        if self.transport is not None:
            try:
                self.transport.write(written(method, pairs, self._secret), to)
            except OSError as error:
                self._drop("not sent", to)
                self._pbx.log.debug("{method} to {to}: {why}", method=method.value, to=to[0], why=str(error))

    def _drop(self, reason: str, source: Address) -> None:
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if count == 1 or count % 1000 == 0:
            self._pbx.log.warn(
                "callback port: a datagram from {source} dropped, {reason}; so far {count}", source=source[0], reason=reason, count=count
            )

    def _broke(self, failure: Failure, source: Address) -> None:
        self._pbx.log.failure("a request from {source} broke the callback port", failure, source=source[0])


def wanted_of(datagram: Datagram, caller_number: str) -> Wanted:
    """What a REQUEST asks for."""
    pairs = datagram.pairs
    called1 = pairs["called1"]
    return Wanted(
        called1,
        pairs["called2"],
        _shown(pairs.get("caller1", caller_number)),
        _shown(pairs.get("caller2", called1)),
        int(pairs.get("maxduration", "0")),
        datagram.others,
    )


def _shown(number: str) -> str:
    return "" if number.lower() == "anonymous" else number


def _plain(host: str) -> str:
    """An address as it is compared: an IPv4 address may come to an IPv6 socket in another dress."""
    if ":" not in host:
        return host
    address = ip_address(host.partition("%")[0])
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else host


def _response(callback: Callback) -> Iterator[tuple[str, object]]:
    assert callback.result is not None
    yield "id", callback.id
    yield "result", callback.result.value
    yield "duration", callback.seconds
    if callback.joined_at:
        yield "starttime", stamp(callback.joined_at)
    yield "cause", callback.cause
    yield from callback.wanted.others
