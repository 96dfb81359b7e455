"""
A network in memory, on virtual time: datagrams with delay, loss and reordering, and streams.

Nothing is delivered at once: a packet arrives through the clock, after `Network.delay`
seconds (0: as soon as the clock moves, or stands with ``advance(0)``). What is random
comes from a seed, so a test that fails does so again.

`Network.udp` gives a bare datagram endpoint, `Network.wire` puts a driver on one, and
`Network.host` is as much of a reactor as streams need (`pbx.testing.stream`).
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from pbx.sip.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from pbx.net.driver import Driver
    from pbx.testing.stream import Host

Address = tuple[str, int]


class Packet(NamedTuple):
    """A datagram that somebody has sent."""

    at: float
    """When, in seconds of the clock."""
    source: Address
    destination: Address
    data: bytes
    lost: bool
    """Whether it was lost on the way, or nobody was there."""


class Network:
    """
    Hosts and what lies between them. The attributes may be changed at any time and hold for what is sent from then on.

    Args:
        clock: The time.
        delay: Seconds one way.
        jitter: At most so many seconds more, different for each datagram: so they overtake each other.
        loss: The share of datagrams that is lost, 0 to 1.
        duplicates: The share of datagrams that arrives twice.
        seed: Decides which ones.
        refuse: Whether a port where nobody listens answers with ICMP (`Endpoint.refused`).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicates: float = 0.0,
        seed: int = 0,
        refuse: bool = False,
    ) -> None:
        self.clock = clock
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.duplicates = duplicates
        self.refuse = refuse
        self.packets: deque[Packet] = deque(maxlen=100_000)
        """All datagrams, in the order of sending."""
        self._random = Random(seed)
        self._endpoints: dict[Address, Endpoint] = {}
        self._cut: set[frozenset[str]] = set()
        self._hosts: dict[str, Host] = {}
        self._next_port = 40000

    def udp(self, address: str, port: int = 0) -> Endpoint:
        """
        A datagram endpoint at ``address`` and ``port`` (0: any).

        Raises:
            OSError: The port is taken.
        """
        if not port:
            port = self.free_port()
        if (address, port) in self._endpoints:
            raise OSError(f"address already in use: {address}:{port}")
        endpoint = self._endpoints[address, port] = Endpoint(self, (address, port))
        return endpoint

    def wire(self, address: str, port: int = 5060) -> Wire:
        """An endpoint for SIP that a driver can be put on."""
        return Wire(self, address, port)

    def host(self, address: str) -> Host:
        """The host with this address, for streams: as much of a reactor as they need."""
        from pbx.testing.stream import Host

        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = Host(self, address)
        return host

    def free_port(self) -> int:
        """A port number that was not given out before."""
        self._next_port += 1
        return self._next_port

    def cut(self, one: str, other: str) -> None:
        """Nothing passes between these two addresses any more."""
        self._cut.add(frozenset((one, other)))

    def mend(self, one: str, other: str) -> None:
        """Undo `cut`."""
        self._cut.discard(frozenset((one, other)))

    def is_cut(self, one: str, other: str) -> bool:
        """Whether nothing passes between these two."""
        return frozenset((one, other)) in self._cut

    def forget(self, endpoint: Endpoint) -> None:
        """Take an endpoint off the network."""
        if self._endpoints.get(endpoint.address) is endpoint:
            del self._endpoints[endpoint.address]

    def carry(self, data: bytes, source: Endpoint, destination: Address) -> None:
        """Take a datagram on its way."""
        lost = self.is_cut(source.address[0], destination[0]) or self._random.random() < self.loss
        self.packets.append(Packet(self.clock.seconds(), source.address, destination, data, lost))
        if lost:
            return
        for _ in range(2 if self.duplicates and self._random.random() < self.duplicates else 1):
            late = self._random.uniform(0.0, self.jitter) if self.jitter else 0.0
            self.clock.callLater(self.delay + late, self._arrive, data, source, destination)

    def _arrive(self, data: bytes, source: Endpoint, destination: Address) -> None:
        endpoint = self._endpoints.get(destination)
        if endpoint is not None:
            endpoint.received(data, source.address)
        elif self.refuse:
            self.clock.callLater(self.delay, source.refused, data, destination)


class Endpoint:
    """One datagram socket in memory."""

    def __init__(self, network: Network, address: Address) -> None:
        self.address = address
        """Where it is."""
        self.received: Callable[[bytes, Address], None] = _ignore
        """Called with each datagram and where it came from; to be set."""
        self.refused: Callable[[bytes, Address], None] = _ignore
        """Called with a datagram that met a closed port, and where that is, if the network refuses; to be set."""
        self._network = network
        self._open = True

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram. From a closed endpoint nothing goes out."""
        if self._open:
            self._network.carry(bytes(data), self, destination)

    def close(self) -> None:
        """Leave the network; what is on its way here is lost."""
        self._open = False
        self._network.forget(self)


def _ignore(data: bytes, other: Address) -> None:
    """Nobody has asked to be told."""


class WireFlow(Flow):
    """A far address as seen from one `Wire`."""

    __slots__ = ("_wire", "proven")

    def __init__(self, wire: Wire, remote: Address) -> None:
        own = _host_and_port(wire.address)
        super().__init__("UDP", remote, own, f"UDP {own} {_host_and_port(remote)}", reliable=False)
        self._wire = wire
        self.proven = False

    def beside(self, host: str, port: int) -> WireFlow:
        """The flow to another place, from the same socket."""
        return self._wire.flow((host, port))

    def write(self, data: bytes) -> None:
        """Send a datagram through the network."""
        self._wire.write(data, self)


class Wire:
    """
    What a driver stands on in tests, in place of a UDP socket.

    Messages that arrive go to `driver`, or, while there is none, only to `arrived`.
    """

    def __init__(self, network: Network, address: str, port: int = 5060) -> None:
        self.driver: Driver | None = None
        """Hears what arrives; to be set."""
        self.sent: list[tuple[float, bytes]] = []
        """What was sent from here: when, and what."""
        self.arrived: list[tuple[float, bytes]] = []
        """What has come here."""
        self._clock = network.clock
        self._endpoint = network.udp(address, port)
        self._endpoint.received = self._received
        self._endpoint.refused = self._refused
        self._flows: dict[Address, WireFlow] = {}

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._endpoint.address

    def flow(self, remote: Address) -> WireFlow:
        """The flow to an address and port; always the same one."""
        flow = self._flows.get(remote)
        if flow is None:
            flow = self._flows[remote] = WireFlow(self, remote)
        return flow

    def write(self, data: bytes, flow: WireFlow) -> None:
        """Send a datagram over ``flow``."""
        self.sent.append((self._clock.seconds(), data))
        self._endpoint.send(data, flow.remote)

    def close(self) -> None:
        """Leave the network."""
        self._endpoint.close()

    def _received(self, data: bytes, source: Address) -> None:
        self.arrived.append((self._clock.seconds(), data))
        if self.driver is not None:
            self.driver.received(data, self.flow(source))

    def _refused(self, data: bytes, destination: Address) -> None:
        if self.driver is not None:
            self.driver.unreachable(data)


def _host_and_port(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
