"""
One stream of one end: the ports that its peer sends to, who may send there, and where the peer wants to get media.

A track takes packets one by one, with their source, until its latch closes (`pbx.rtp.latch`). Then the socket is
connected and the loop has it; what is not ordinary media comes back to `Track.irregular`. Each offer/answer begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.media.loop import LARGEST
from pbx.media.terms import UNSPECIFIED, Terms, all_usable, usable
from pbx.rtp.dtmf import DigitReceiver
from pbx.rtp.latch import Judgement, Latch, Source
from pbx.rtp.packet import CONTROL, EVENT, HEADER, REFUSED, is_dtls, is_rtp, kinds_of, payload_of
from pbx.rtp.rtcp import is_rtcp
from pbx.rtp.stream import Stream, discard

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.media.end import MediaEnd
    from pbx.media.loop import Switchboard
    from pbx.media.ports import PortPair
    from pbx.net.rtp_port import RtpPort

_LONGEST_QUEUE = 8192


class Track:
    """See the module."""

    __slots__ = (
        "_credited",
        "_credited_octets",
        "_loop",
        "_rtcp_source",
        "_target",
        "control_packets",
        "destination",
        "digits",
        "end",
        "feeder",
        "heard",
        "heard_next",
        "kind",
        "latch",
        "muxed",
        "out",
        "pair",
        "sent_octets",
        "sent_packets",
        "sink",
        "stream",
        "told",
        "told_next",
    )

    def __init__(self, end: MediaEnd, kind: str, pair: PortPair, loop: Switchboard) -> None:
        self.end = end
        """Gone once closed."""
        self.kind = kind
        self.pair: PortPair | None = pair
        """None once closed."""
        self.heard: Terms | None = None
        """What the peer has said of the stream, in the last offer/answer that was settled."""
        self.told: Terms | None = None
        """What the peer has been told."""
        self.heard_next: Terms | None = None
        """What the peer offers at present."""
        self.told_next: Terms | None = None
        """What the peer is offered at present."""
        self.muxed = False
        """RTCP comes and goes on the RTP port."""
        self.latch = Latch()
        self.destination: Source | None = None
        """Where the peer gets its media; None: nowhere."""
        self.out: Track | None = None
        """The track at the other end of the call, where what comes here goes on."""
        self.feeder: Track | None = None
        """The track whose packets go out here."""
        self.sink: Callable[[memoryview], Any] | None = None
        """Gets what comes here, in place of `out`."""
        self.digits: DigitReceiver | None = None
        self.sent_packets = 0
        self.sent_octets = 0
        self.control_packets = 0
        """RTCP accepted."""
        self.stream = Stream(pair.rtp.receive, self.irregular)
        self._loop = loop
        self._rtcp_source: Source | None = None
        self._target: Track | None = None
        self._credited = 0
        self._credited_octets = 0
        pair.rtp.user = pair.rtcp.user = self

    # What signalling says.

    def settle(self, heard: Terms, told: Terms, now: float, *, muxed: bool) -> None:
        """An offer/answer is complete: open the latch for it (once) and send where the peer now wants it."""
        self.heard, self.told, self.muxed = heard, told, muxed
        stream = self.stream
        stream.clock_rate = heard.clock_rate
        if not heard.raw:
            stream.kinds = kinds_of(heard.payload_types | told.payload_types, heard.events | told.events, mux=muxed)
        stream.restarted()
        self._unsettle()
        described = self._described(heard)
        self.latch.reopen(self._allowed(heard), described, now)
        self._rtcp_source = None
        # A source found behind a NAT is better than what the description says, while that says the same as before.
        self.destination = self.latch.source or described
        if not heard.port or heard.address in UNSPECIFIED:
            self.destination = None
        self.aim()

    @property
    def expects(self) -> bool:
        """
        Something should be coming in: both sides send and receive.

        A peer that only sends has put us on hold, and need not send music; the session timer ends such a call.
        """
        heard, told = self.heard, self.told
        if self.pair is None or heard is None or told is None:
            return False
        return heard.sends and heard.receives and told.receives

    @property
    def life(self) -> int:
        """A number that grows with every accepted packet, RTCP included."""
        return self.stream.packets + self.control_packets

    def close(self) -> PortPair | None:
        """Let go of the ports; they are given back, once. What was counted stays."""
        pair, self.pair = self.pair, None
        if pair is None:
            return None
        self._loop.readers[pair.rtp.fd] = pair.rtp
        pair.rtp.user = pair.rtcp.user = None
        if self.out is not None:
            self.connect_to(None)
        if self.feeder is not None:
            self.feeder.connect_to(None)
        self.sink = None
        # These were cycles, which would keep all of the call until a collection of garbage.
        self.stream.forward = self.stream.irregular = discard  # type: ignore[assignment]
        del self.end
        return pair

    # Where packets go.

    def connect_to(self, out: Track | None) -> None:
        """Send what comes in out at ``out``; at itself: an echo; None: nowhere."""
        if self.out is not None and self.out.feeder is self:
            self.out.feeder = None
        self.out = out
        if out is not None:
            if out.feeder is not None and out.feeder is not self:
                out.feeder.connect_to(None)
            out.feeder = self
        self.point()

    def point(self) -> None:
        """Bring the stream's way on up to date."""
        self.credit()
        target = self.out
        forward = self.sink
        if forward is None and target is not None:
            forward = target.sender()
        self._target = target if forward is not None and self.sink is None else None
        self.stream.forward = discard if forward is None else forward

    def aim(self) -> None:
        """The way to the peer has changed: tell who sends to it."""
        if self.feeder is not None:
            self.feeder.point()

    def sender(self) -> Callable[[memoryview], Any] | None:
        """Give what sends one packet to the peer in the cheapest way there is; None: there is no way at present."""
        if self.pair is None or self.destination is None:
            return None
        return self.pair.rtp.send if self.pair.rtp.connected else self._send_to

    def credit(self) -> None:
        """Count what came here since last time as sent by the track where it went out: no count of its own per packet."""
        stream = self.stream
        if not stream.packets:
            return
        arrived, octets = stream.packets - stream.unsent, stream.octets
        if self._target is not None:
            self._target.sent_packets += arrived - self._credited
            self._target.sent_octets += octets - self._credited_octets
        self._credited, self._credited_octets = arrived, octets

    def send_control(self, packet: memoryview | bytes) -> None:
        """Send RTCP to the peer."""
        pair, destination = self.pair, self.destination
        if pair is None or destination is None:
            return
        try:
            if self.muxed:
                if pair.rtp.connected:
                    pair.rtp.sock.send(packet)
                else:
                    pair.rtp.sendto(packet, destination)
            elif self._rtcp_source is not None:
                pair.rtcp.sendto(packet, self._rtcp_source)
            elif self.heard is not None and self.heard.rtcp_port:
                pair.rtcp.sendto(packet, (destination[0], self.heard.rtcp_port))
        except OSError:
            self.stream.unsent += 1

    # Packets that the loop does not take by itself.

    def arrived(self, port: RtpPort, size: int, source: Source, now: float) -> None:
        """A datagram is in the buffer, from a socket that is not settled: it is judged by its source."""
        pair, heard = self.pair, self.heard
        if pair is None or heard is None:
            return
        if size >= LARGEST:
            self.stream.refused += 1
        elif port is pair.rtcp:
            self._control(size, source, now)
        elif heard.raw:
            self._take_raw(size, source, now)
        else:
            self._judge(size, source, now)

    def irregular(self, size: int, now: float) -> None:
        """The loop has read something from the latched source that is not ordinary media."""
        source = self.latch.source
        if source is None or size >= LARGEST:
            self.stream.refused += 1
        else:
            self._judge(size, source, now)

    def _judge(self, size: int, source: Source, now: float) -> None:
        buffer, stream = self._loop.buffer, self.stream
        if not is_rtp(buffer, size):
            if self.heard is not None and self.heard.encrypted and is_dtls(buffer, size):
                self._take_raw(size, source, now)
            else:
                stream.refused += 1
            return
        _, second, sequence, stamp = HEADER.unpack_from(buffer)
        kind = stream.kinds[second]
        if kind == CONTROL:
            self._control(size, source, now)
            return
        judgement = Judgement.REFUSED if kind == REFUSED else self.latch.judge(source, sequence, now)
        if judgement is Judgement.REFUSED:
            stream.refused += 1
            return
        stream.count(sequence, stamp, size, now)
        self._pass_on(size)
        if kind == EVENT:
            self._event(size, stamp, now)
        if judgement is Judgement.LATCHED:
            self._latched(source, now)

    def _take_raw(self, size: int, source: Source, now: float) -> None:
        judgement = self.latch.judge(source, -1, now)
        if judgement is Judgement.REFUSED:
            self.stream.refused += 1
            return
        self.stream.packets += 1
        self.stream.octets += size
        self._pass_on(size)
        if judgement is Judgement.LATCHED:
            self._latched(source, now)

    def _pass_on(self, size: int) -> None:
        try:
            self.stream.forward(self._loop.views[size])
        except OSError:
            self.stream.unsent += 1

    def _event(self, size: int, stamp: int, now: float) -> None:
        if self.digits is None:
            self.digits = DigitReceiver(self.stream.clock_rate)
        end = self.end  # whoever is told may close this
        for digit in self.digits.receive(payload_of(self._loop.views[size], size), stamp, now):
            end.owner.digit_pressed(end, digit.key, digit.duration)

    def _control(self, size: int, source: Source, now: float) -> None:
        heard, latch = self.heard, self.latch
        if heard is None or not is_rtcp(self._loop.buffer, size, encrypted=heard.encrypted) or not self._may_control(source):
            self.stream.refused += 1
            return
        self.control_packets += 1
        if not self.muxed and latch.closed:
            self._rtcp_source = source
        target = self.out
        if target is not None and target is not self:
            target.send_control(self._loop.views[size])

    def _may_control(self, source: Source) -> bool:
        """RTCP is latched with RTP: from its address, and then from one port (RFC 3550 §11 ties the two together)."""
        latch = self.latch
        if not latch.closed or latch.source is None:
            return source[0] in latch.allowed
        if self.muxed:
            return source == latch.source
        return source == self._rtcp_source if self._rtcp_source is not None else source[0] == latch.source[0]

    # The latch closes and opens.

    def _latched(self, source: Source, now: float) -> None:
        """Only this source from now on. What strangers had put in the queue before is dropped before the loop may have it."""
        pair, heard = self.pair, self.heard
        if pair is None or heard is None:
            return  # closed by who was told of a digit
        port, end = pair.rtp, self.end
        if self.destination is not None:
            self.destination = source
        if not heard.raw and port.connect(source):
            for _ in range(_LONGEST_QUEUE):
                if not port.read(now):
                    break
            if self.pair is pair and port.connected:
                self._loop.readers[port.fd] = self.stream
        self.aim()
        end.owner.media_latched(end)

    def _unsettle(self) -> None:
        if self.pair is not None:
            self._loop.readers[self.pair.rtp.fd] = self.pair.rtp
            self.pair.rtp.dissolve()

    def _described(self, heard: Terms) -> Source | None:
        """Where to send before anything has come: as described, or behind a NAT where the signalling comes from."""
        end = self.end
        address = heard.address
        if (end.nat and end.signalling_address) or not usable(address, end.family):
            address = end.signalling_address
        return (address, heard.port) if heard.port and usable(address, end.family) else None

    def _allowed(self, heard: Terms) -> frozenset[str]:
        end = self.end
        return all_usable((heard.address, end.signalling_address, *end.trusted), end.family)

    def _send_to(self, packet: memoryview) -> None:
        pair = self.pair
        if pair is not None and self.destination is not None:
            pair.rtp.sendto(packet, self.destination)
