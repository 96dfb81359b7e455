"""Asks an address over UDP whether it speaks SIP: one OPTIONS (RFC 3261 §11), sent again as §17.1.2.2 says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from pbx.net.address import in_brackets
from pbx.net.randomness import SystemChance
from pbx.sip import build
from pbx.sip.ids import COOKIE

_FIRST_WAIT = 0.5


@dataclass(frozen=True, slots=True)
class Probed:
    """
    What became of it.

    Attributes:
        address: Who was asked.
        port: At which port.
        of_system: Whether the system's resolver has given this address.
        said: The first line of the answer, ``"200 OK"``, or why there is none.
        speaks: Whether anything came that SIP is.
    """

    address: str
    port: int
    of_system: bool
    said: str
    speaks: bool

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {"address": self.address, "port": self.port, "system": self.of_system, "said": self.said, "speaks_sip": self.speaks}


def probe(reactor: Any, address: str, port: int, of_system: bool, timeout: float) -> Deferred[Probed]:
    """Send OPTIONS; any answer will do. The Deferred fires within ``timeout`` seconds and never fails."""
    asking = _Options(reactor, address, port, of_system)
    asking.start(timeout)
    return asking.result


class _Options(DatagramProtocol):
    """One OPTIONS on its way."""

    def __init__(self, reactor: Any, address: str, port: int, of_system: bool) -> None:
        self.result: Deferred[Probed] = Deferred(lambda _: self._close())
        self._reactor = reactor
        self._target = (address, port)
        self._of_system = of_system
        self._port: Any = None
        self._end: Any = None
        self._again: Any = None
        self._closed = False
        self._data = b""

    def start(self, timeout: float) -> None:
        """Ask."""
        self._end = self._reactor.callLater(timeout, self._over, f"silent for {timeout:g} s")
        try:
            self._port = self._reactor.listenUDP(0, self, interface="::" if ":" in self._target[0] else "")
            self._port.connect(*self._target)
            here = self._port.getHost()
        except (OSError, CannotListenError) as error:
            self._over(f"cannot be reached ({getattr(error, 'strerror', None) or error})")
            return
        tag = f"{SystemChance().getrandbits(48):x}"
        own, target = f"{in_brackets(here.host)}:{here.port}", f"sip:{in_brackets(self._target[0])}:{self._target[1]}"
        self._data = build.request(
            "OPTIONS",
            target,
            f"SIP/2.0/UDP {own};rport",
            f"{COOKIE}{tag}",
            from_=f"<sip:dnscheck@{own}>;tag={tag}",
            to=f"<{target}>",
            call_id=f"dnscheck-{tag}",
            cseq=1,
            max_forwards=70,
        ).data
        self._send(_FIRST_WAIT)

    def _send(self, wait: float) -> None:
        self._again = self._reactor.callLater(wait, self._send, min(2 * wait, 4.0))
        try:
            self._port.write(self._data)
        except OSError as error:
            self._over(f"cannot be reached ({error.strerror})")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """An answer."""
        if datagram.startswith(b"SIP/2.0 "):
            line = datagram[8:].partition(b"\r\n")[0].decode("utf-8", "replace")[:60]
            self._over("".join(letter if letter.isprintable() else "?" for letter in line), speaks=True)

    def connectionRefused(self) -> None:
        """ICMP: nobody listens there."""
        self._over("nobody listens there")

    def stopProtocol(self) -> None:
        """The socket has closed by itself: the same ICMP, as epoll reports it."""
        if not self._closed:
            self.connectionRefused()

    def _over(self, said: str, *, speaks: bool = False) -> None:
        self._close()
        if not self.result.called:
            self.result.callback(Probed(*self._target, self._of_system, said, speaks))

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for call in (self._end, self._again):
            if call is not None and call.active():
                call.cancel()
        if self._port is not None:
            self._port.stopListening()
