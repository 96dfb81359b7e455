"""
A DNS server for tests: records from a plain table, and every manner of bad behaviour.

It is an authority of twisted.names for the whole tree, on one free port for UDP and TCP, either on
loopback (with the reactor) or in memory (with a `DnsHost` on a `pbx.testing.network.Network`)::

    server = DnsServer(reactor, {
        "carrier.example": ['60 NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.carrier.example'],
        "_sip._udp.carrier.example": ["60 SRV 10 0 5060 one.carrier.example", "60 SRV 20 0 5062 two.carrier.example"],
        "one.carrier.example": ["60 A 127.0.0.1"],
        "two.carrier.example": ["60 A 127.0.0.1"],
    })
    server.start()
    ... Resolver(reactor, [server.address], 3.0, log) ...
    server.manner = Manner.SILENT
    yield server.stop()
"""

# mypy: disable-error-code="no-untyped-call"
# twisted.names has no annotations.

from __future__ import annotations

import shlex
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory

from pbx.testing.stream import Host

if TYPE_CHECKING:
    from pbx.testing.network import Address, Endpoint, Network

Table = Mapping[str, Sequence[str]]
"""Names and their records, each as ``"TTL KIND VALUES"`` in the manner of a zone file; names are written in full."""

NEGATIVE = 20
"""Seconds that the SOA record of every "there is none" allows it to be kept."""

_RESPONSES = {"SERVFAIL": dns.ESERVER, "NXDOMAIN": dns.ENAME, "REFUSED": dns.EREFUSED}
_KINDS: dict[int, str] = dict(dns.QUERY_TYPES)


class Manner(Enum):
    """How a server behaves."""

    HONEST = "honest"
    SILENT = "silent"
    SERVFAIL = "SERVFAIL"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"
    GARBAGE = "octets that are no DNS message, with the right id"
    NOISE = "octets that are no DNS message, with any id"
    LOOPING = "a name whose pointer leads to itself"
    CROWDED = "a header that promises 65535 records"
    WRONG_ID = "the right answer with another id"
    WRONG_QUESTION = "an answer to another question"
    OTHER_NAME = "records of another name"
    CUT = "an answer that is truncated over UDP, and whole over TCP"
    CUT_ALWAYS = "an answer that is truncated over TCP too"
    CUT_CLOSED = "truncated over UDP; over TCP it closes"
    REFERRAL = "names of other servers, and no recursion"


class DnsServer:
    """
    A DNS server. What can be set holds for the questions that come from then on.

    Args:
        reactor: The reactor, or a `DnsHost`.
        table: What it knows.
        interface: Where it listens.
        port: Port number; 0: a free one.
        additional: Whether the addresses of SRV targets come along.

    Attributes:
        asked: The questions that have come: name and kind, in order.
        manner: How it behaves.
        manners: The same for single names, or for single kinds of records.
        lies: If it is not empty: addresses that it gives for every name that has any.
        delay: Seconds before each answer.
    """

    def __init__(
        self, reactor: Any, table: Table | None = None, *, interface: str = "127.0.0.1", port: int = 0, additional: bool = False
    ) -> None:
        self.asked: list[tuple[str, str]] = []
        self.manner = Manner.HONEST
        self.manners: dict[str, Manner] = {}
        self.lies: list[str] = []
        self.delay = 0.0
        self.reactor = reactor
        self.zone = _Zone(self, additional)
        self._interface = interface
        self._port = port
        self._ports: list[Any] = []
        self._factory = _Answering(self)
        for name, lines in (table or {}).items():
            self.set(name, *lines)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once it does."""
        host = self._ports[0].getHost()
        return host.host, host.port

    def set(self, name: str, *lines: str) -> None:
        """
        What it knows of ``name`` from now on; nothing: the name does not exist.

        Raises:
            ValueError: A line is no record of a kind known here.
        """
        records = [record_of(line) for line in lines]
        if records:
            self.zone.records[name.lower().encode()] = records
        else:
            self.zone.records.pop(name.lower().encode(), None)

    def count(self, name: str = "", kind: str = "") -> int:
        """How many questions have come, of all or for this name or this kind."""
        return sum(one[0] == (name or one[0]) and one[1] == (kind or one[1]) for one in self.asked)

    def start(self) -> None:
        """
        Listen.

        Raises:
            CannotListenError: The port is taken; with port 0 several are tried.
        """
        for attempt in range(20):
            listening = self.reactor.listenUDP(self._port, dns.DNSDatagramProtocol(self._factory, self.reactor), interface=self._interface)
            try:
                port = self.reactor.listenTCP(listening.getHost().port, self._factory, interface=self._interface)
            except CannotListenError:
                listening.stopListening()
                if self._port or attempt == 19:
                    raise
                continue
            self._ports = [listening, port]
            return

    def stop(self) -> Deferred[Any]:
        """Listen no more, and close connections; the Deferred fires when it is done."""
        for connection in list(self._factory.connections):
            connection.transport.abortConnection()
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def manner_for(self, name: str, kind: str) -> Manner:
        """How it behaves to this question."""
        return self.manners.get(name) or self.manners.get(kind) or self.manner


def record_of(line: str) -> Any:
    """
    A record of twisted.names from ``"TTL KIND VALUES"``.

    Raises:
        ValueError: It is none.
    """
    words = shlex.split(line)
    try:
        ttl, kind, values = int(words[0]), words[1].upper(), words[2:]
        return _MAKERS[kind](ttl, *values)
    except (IndexError, KeyError, TypeError, ValueError, OSError):
        raise ValueError(f'{line!r} is no record; write "60 A 192.0.2.1" or "60 SRV 10 0 5060 one.example"') from None


def _naming_pointer(ttl: int, order: str, preference: str, flags: str, service: str, expression: str, replacement: str) -> Any:
    values = (flags.encode(), service.encode(), expression.encode(), _name(replacement))
    return dns.Record_NAPTR(int(order), int(preference), *values, ttl=ttl)


def _name(text: str) -> bytes:
    return text.removesuffix(".").encode()


_MAKERS: dict[str, Callable[..., Any]] = {
    "A": lambda ttl, address: dns.Record_A(address, ttl),
    "AAAA": lambda ttl, address: dns.Record_AAAA(address, ttl),
    "CNAME": lambda ttl, name: dns.Record_CNAME(_name(name), ttl),
    "SRV": lambda ttl, priority, weight, port, target: dns.Record_SRV(int(priority), int(weight), int(port), _name(target), ttl),
    "NAPTR": _naming_pointer,
    "TXT": lambda ttl, *texts: dns.Record_TXT(*(text.encode() for text in texts), ttl=ttl),
}


class _Zone(FileAuthority):
    """The whole tree."""

    def __init__(self, server: DnsServer, additional: bool) -> None:
        self._server = server
        self.additional = additional
        super().__init__("")

    def loadFile(self, filename: str) -> None:
        start = dns.Record_SOA(b"ns.test", b"admin.test", 1, 3600, 600, 86400, NEGATIVE, NEGATIVE)
        self.soa: Any = (b"", start)
        self.records: Any = {}

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any = None) -> Deferred[Any]:
        kind = _KINDS.get(type, "")
        own = self.records.get(name.lower(), ())
        lies = self._server.lies
        if lies and kind in ("A", "AAAA") and any(one.TYPE in (dns.A, dns.AAAA) for one in own):
            wanted = [record_of(f"60 {'AAAA' if ':' in lie else 'A'} {lie}") for lie in lies]
            answers = [dns.RRHeader(name, type, dns.IN, 60, lie, auth=True) for lie in wanted if type == lie.TYPE]
            done: Deferred[Any] = Deferred()
            done.callback((answers, [] if answers else [self.start()], []))
            return done
        looked_up: Deferred[Any] = super()._lookup(name, cls, type, timeout)
        return looked_up

    def start(self) -> Any:
        """The SOA record, as it stands beside "there is none"."""
        return dns.RRHeader(self.soa[0], dns.SOA, dns.IN, NEGATIVE, self.soa[1], auth=True)

    def _additionalRecords(self, answer: Any, authority: Any, ttl: int) -> Any:
        yield from super()._additionalRecords(answer, authority, ttl)
        for header in answer if self.additional else ():
            if header.type == dns.SRV:
                for record in self.records.get(header.payload.target.name.lower(), ()):
                    if record.TYPE in self._ADDRESS_TYPES:
                        yield dns.RRHeader(header.payload.target.name, record.TYPE, dns.IN, record.ttl, record)


class _Answering(DNSServerFactory):
    """Counts, and behaves as it is told."""

    noisy = False

    def __init__(self, server: DnsServer) -> None:
        super().__init__([server.zone])
        self.canRecurse = True
        self._server = server

    def messageReceived(self, message: Any, proto: Any, address: Any = None) -> None:
        if not message.queries:
            return
        query = message.queries[0]
        name, kind = query.name.name.decode("ascii", "replace").lower(), _KINDS.get(query.type, str(query.type))
        self._server.asked.append((name, kind))
        manner = self._server.manner_for(name, kind)
        if self._server.delay:
            self._server.reactor.callLater(self._server.delay, self._behave, manner, message, proto, address)
        else:
            self._behave(manner, message, proto, address)

    def _behave(self, manner: Manner, message: Any, proto: Any, address: Any) -> None:
        if proto.transport is None:
            return
        if manner is Manner.HONEST:
            super().messageReceived(message, proto, address)
        elif manner is Manner.CUT_CLOSED and address is None:
            proto.transport.loseConnection()
        elif manner is not Manner.SILENT:
            self._misbehave(manner, message, proto, address)

    def _misbehave(self, manner: Manner, message: Any, proto: Any, address: Any) -> None:
        begins = message.id.to_bytes(2, "big")
        match manner:
            case Manner.SERVFAIL | Manner.NXDOMAIN | Manner.REFUSED:
                self.sendReply(proto, self._responseFromMessage(message, rCode=_RESPONSES[manner.value]), address)
            case Manner.GARBAGE:
                _write(proto, begins + b"\xff" * 30, address)
            case Manner.NOISE:
                _write(proto, b"\x00" * 7, address)
            case Manner.LOOPING:
                _write(proto, begins + bytes.fromhex("8180 0001 0001 0000 0000 c00c 0001 0001"), address)
            case Manner.CROWDED:
                _write(proto, begins + struct.pack("!5H", 0x8180, 1, 65535, 65535, 65535), address)
            case Manner.WRONG_ID:
                message.id ^= 0x5555
                super().messageReceived(message, proto, address)
            case Manner.WRONG_QUESTION:
                message.queries = [dns.Query(b"elsewhere.example", message.queries[0].type)]
                self.sendReply(proto, self._responseFromMessage(message), address)
            case Manner.OTHER_NAME:
                stray = dns.RRHeader(b"elsewhere.example", dns.A, dns.IN, 60, dns.Record_A("203.0.113.66", 60))
                self.sendReply(proto, self._responseFromMessage(message, answers=[stray]), address)
            case Manner.REFERRAL:
                other = dns.RRHeader(b"example", dns.NS, dns.IN, 60, dns.Record_NS(b"ns.example", 60))
                response = self._responseFromMessage(message, authority=[other])
                response.recAv = 0
                self.sendReply(proto, response, address)
            case Manner.CUT if address is None:
                super().messageReceived(message, proto, address)
            case _:
                response = self._responseFromMessage(message)
                response.trunc = 1
                self.sendReply(proto, response, address)

    def sendReply(self, protocol: Any, message: Any, address: Any) -> None:
        """Over UDP at most 512 octets go (RFC 1035 §4.2.1); beside "there is no such name" stands how long that may be kept."""
        if protocol.transport is None:
            return
        message.maxSize = 0 if address is None else 512
        if message.rCode == dns.ENAME and not message.authority and self._server.manner is not Manner.NXDOMAIN:
            message.authority = [self._server.zone.start()]
        message.timeReceived = 0.0
        super().sendReply(protocol, message, address)


def _write(proto: Any, data: bytes, address: Any) -> None:
    if address is None:
        proto.transport.write(len(data).to_bytes(2, "big") + data)
    else:
        proto.transport.write(data, address)


class DnsHost(Host):
    """
    A host on a network in memory that has UDP as a reactor has it, beside streams and time.

    Args:
        network: What it is on.
        address: Its address.
    """

    def __init__(self, network: Network, address: str) -> None:
        super().__init__(network, address)
        # Who connects to this address finds what listens here.
        self.ports = network.host(address).ports

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192) -> MemoryUdp:  # noqa: N803
        """
        Listen on this host's address.

        Raises:
            CannotListenError: The port is taken.
        """
        try:
            endpoint = self.network.udp(self.address, port)
        except OSError as error:
            raise CannotListenError(interface, port, error) from None
        return MemoryUdp(endpoint, protocol)


class MemoryUdp:
    """As much of Twisted's UDP transport as DNS needs."""

    def __init__(self, endpoint: Endpoint, protocol: DatagramProtocol) -> None:
        self._endpoint = endpoint
        self._protocol = protocol
        self._connected: Address | None = None
        endpoint.received = self._received
        endpoint.refused = self._refused
        protocol.makeConnection(self)  # type: ignore[arg-type]

    def connect(self, host: str, port: int) -> None:
        """Hear one address only, and of ICMP from there."""
        self._connected = (host, port)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """Send a datagram."""
        destination = addr or self._connected
        assert destination is not None, "neither an address nor connected"
        self._endpoint.send(datagram, destination)

    def stopListening(self) -> None:
        """Close it."""
        self._endpoint.close()
        self._protocol.doStop()

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it is."""
        host, port = self._endpoint.address
        return IPv6Address("UDP", host, port) if ":" in host else IPv4Address("UDP", host, port)

    def _received(self, data: bytes, source: Any) -> None:
        if self._connected is None or source == self._connected:
            self._protocol.datagramReceived(data, source)

    def _refused(self, data: bytes, destination: Any) -> None:
        if self._connected is not None:
            self._protocol.connectionRefused()
