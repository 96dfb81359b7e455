"""The same on real sockets, on loopback: what only the kernel can show."""

from __future__ import annotations

import socket
import time
from random import Random
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pbx.interfaces import IMediaEnd, IMediaPlane
from pbx.media import loop
from pbx.media.loop import CLOSE, DENSE, GATHER, STAY, MediaLoop
from pbx.media.plane import MediaPlane, start
from pbx.media.ports import Ports
from pbx.net.rtp_port import UdpSocket, open_socket
from pbx.rtp.packet import make
from pbx.testing.media import Pool
from tests.media.common import Owner, audio, description


class Readers:
    """As much of a reactor as the loop asks for."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


def bound(address: str) -> UdpSocket:
    """A socket on a port that was asked for by number, as all of the pool are: only such a port stays bound."""
    first = open_socket(address, 0)
    number = first.getsockname()[1]
    first.close()
    return open_socket(address, number)


class DissolveTests(SynchronousTestCase):
    """A UDP socket that is connected and freed again."""

    def setUp(self) -> None:
        self.ours = bound("127.0.0.1")
        self.friend, self.stranger = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for udp in (self.friend, self.stranger):
            udp.bind(("127.0.0.1", 0))
        for udp in (self.ours, self.friend, self.stranger):
            self.addCleanup(udp.close)

    def arrived(self) -> set[bytes]:
        got = set()
        for udp, word in ((self.friend, b"friend"), (self.stranger, b"stranger")):
            udp.sendto(word, self.address)
        while True:
            try:
                got.add(self.ours.recv(100))
            except (BlockingIOError, ConnectionRefusedError):
                return got

    def test_dissolve(self) -> None:
        """Connected, the kernel drops the stranger; dissolved, both are heard again, at the same address and port."""
        self.address = self.ours.getsockname()
        self.ours.connect(self.friend.getsockname())
        self.assertEqual(self.arrived(), {b"friend"})
        self.ours.dissolve()
        self.assertEqual(self.ours.getsockname(), self.address)
        self.assertEqual(self.arrived(), {b"friend", b"stranger"})
        self.ours.dissolve()

    def test_ipv6(self) -> None:
        """So it is with IPv6."""
        try:
            six = bound("::1")
        except OSError as error:
            raise self.skipTest(f"no IPv6 here: {error}") from error
        self.addCleanup(six.close)
        address = six.getsockname()
        six.connect(("::1", 9, 0, 0))
        six.dissolve()
        self.assertEqual(six.getsockname()[:2], address[:2])

    def test_failure(self) -> None:
        """On a closed socket it says so."""
        closed = open_socket("127.0.0.1", 0)
        closed.close()
        self.assertRaises(OSError, closed.dissolve)

    def test_port_taken(self) -> None:
        """A port that is taken is an error, and nothing stays open."""
        self.assertRaises(OSError, open_socket, *self.ours.getsockname())


class LoopTests(SynchronousTestCase):
    """A call over real sockets."""

    def setUp(self) -> None:
        self.reactor = Readers()
        self.clock = Clock()
        self.clock.advance(time.monotonic())
        self.now = 1000.0
        self.sleeps = 0
        self.slack = 0.0
        self.loop = MediaLoop(self.reactor, Logger(), lambda: self.now, self.gather)  # type: ignore[arg-type]  # all of a reactor it uses
        self.loop.start()
        self.ports = Ports(self.loop, 45000, 49999, self.clock.seconds, Random(time.monotonic_ns()))
        self.plane = MediaPlane(self.clock, self.ports, self.loop, Pool(), Logger())
        self.alice, self.bob, self.mallory = (self.phone() for _ in range(3))
        self.a, self.b = (
            self.plane.end("call", local_address="127.0.0.1", signalling_address="127.0.0.1", nat=False, owner=Owner()) for _ in range(2)
        )
        self.successResultOf(self.plane.offer(self.a, self.b, description("127.0.0.1", audio(self.alice.getsockname()[1]))))
        self.successResultOf(self.plane.answer(self.b, self.a, description("127.0.0.1", audio(self.bob.getsockname()[1]))))
        self.plane.join(self.a, self.b)
        self.sequences = dict.fromkeys((self.alice, self.bob, self.mallory), 0)

    def tearDown(self) -> None:
        self.plane.close(self.a)
        self.plane.close(self.b)
        self.ports.close()
        self.loop.stop()
        self.assertEqual(self.reactor.readers, [])

    def phone(self) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        udp.bind(("127.0.0.1", 0))
        self.addCleanup(udp.close)
        return udp

    def port(self, end: Any) -> tuple[str, int]:
        return "127.0.0.1", end.tracks[0].pair.rtp.number

    def speak(self, phone: socket.socket, end: Any, count: int = 1, word: bytes = b"speech") -> None:
        for _ in range(count):
            number = self.sequences[phone] = self.sequences.get(phone, 0) + 1
            phone.sendto(make(0, number, number * 160, 1, word), self.port(end))

    def heard(self, phone: socket.socket) -> list[bytes]:
        for _ in range(50):
            self.loop.doRead()
        return self.arrived(phone)

    def arrived(self, phone: socket.socket) -> list[bytes]:
        got = []
        while True:
            try:
                got.append(phone.recv(2048)[12:])
            except BlockingIOError:
                return got
            except ConnectionRefusedError:
                continue

    def test_interfaces(self) -> None:
        """The plane, its ends and the loop are what they say."""
        verifyObject(IMediaPlane, self.plane)
        verifyObject(IMediaEnd, self.a)
        verifyObject(IReadDescriptor, self.loop)
        self.assertEqual(self.loop.logPrefix(), "media")

    def test_relayed(self) -> None:
        """Both ways, also after both sockets are connected."""
        for _ in range(3):
            self.speak(self.alice, self.a, 5)
            self.assertEqual(len(self.heard(self.bob)), 5)
            self.speak(self.bob, self.b, 5)
            self.assertEqual(len(self.heard(self.alice)), 5)
        for end in (self.a, self.b):
            track = end.tracks[0]
            assert track is not None
            assert track.pair is not None
            self.assertTrue(track.pair.rtp.connected)
            self.assertIs(self.loop.readers[track.pair.rtp.fd], track.stream)
        counts = self.plane.counts(self.a)[0]
        self.assertEqual((counts.packets_in, counts.packets_out, counts.lost), (15, 15, 0))

    def gather(self, seconds: float) -> None:
        """What the loop takes for sleep; as that of Linux, it lasts longer than asked for."""
        self.sleeps += 1
        self.now += seconds * self.slack

    def settle(self, gap: float, packets: int = 150) -> None:
        """Have the loop see packets at this mean distance."""
        self.slack = 0.0
        for _ in range(packets):
            self.now += gap
            self.speak(self.alice, self.a)
            self.loop.doRead()
        self.arrived(self.bob)

    def one_call(self, *phones: socket.socket, each: int = 20) -> tuple[int, int]:
        """Packets relayed by one call of the reactor, and sleeps, when ``each`` of the phones has sent many."""
        for phone in phones:
            self.speak(phone, self.a if phone is self.alice else self.b, each)
        self.slack = 1.5
        self.sleeps = 0
        self.now += GATHER
        self.loop.doRead()
        return len(self.arrived(self.alice) + self.arrived(self.bob)), self.sleeps

    def both_settled(self) -> None:
        """Both sockets are connected, so that a look takes one packet of each."""
        self.speak(self.alice, self.a, 3)
        self.speak(self.bob, self.b, 3)
        self.heard(self.alice), self.heard(self.bob)

    def test_far_apart(self) -> None:
        """Packets that come now and then: one look at the sockets, and the rest of the reactor has its turn."""
        self.both_settled()
        self.settle(CLOSE * 2)
        self.assertEqual(self.one_call(self.alice), (1, 0))

    def test_close(self) -> None:
        """Packets that come closer are waited for, and taken by one call until none comes."""
        self.both_settled()
        self.settle(CLOSE / 2)
        self.assertEqual(self.one_call(self.alice, each=3), (3, 0))

    def test_dense(self) -> None:
        """Packets that come closest are let gather before each look."""
        self.both_settled()
        self.settle(DENSE / 2)
        self.assertEqual(self.one_call(self.alice, self.bob, each=3), (6, 3))

    def test_dense_without_end(self) -> None:
        """However many come: the rest of the reactor has its turn after `STAY` seconds."""
        self.both_settled()
        self.settle(DENSE / 2)
        sleeps = int(STAY / (GATHER * 1.5)) + 1
        self.assertEqual(self.one_call(self.alice, self.bob), (2 * (sleeps + 1), sleeps))

    def test_full_look(self) -> None:
        """As many as one look can take need not be let gather."""
        self.both_settled()
        self.settle(DENSE / 2)
        self.patch(loop, "BURST", 2)
        self.assertEqual(self.one_call(self.alice, self.bob), (2, 0))

    def test_pause(self) -> None:
        """After an hour without a packet the loop knows within eighty that they are dense again, and not after the first."""
        self.both_settled()
        self.settle(DENSE / 2)
        self.now += 3600.0
        self.settle(DENSE / 2, 1)
        self.assertEqual(self.one_call(self.alice, each=3), (3, 0))
        self.settle(DENSE / 2, 80)
        self.assertEqual(self.one_call(self.alice, self.bob, each=3), (6, 3))

    def test_queue_before_the_latch(self) -> None:
        """What a stranger at an allowed address had put into the queue before the latch closed does not come out after it."""
        self.speak(self.alice, self.a, 2)
        self.speak(self.mallory, self.a, 30, b"injected")
        self.speak(self.alice, self.a, 2)
        self.assertEqual(self.heard(self.bob), [b"speech"] * 4)

    def test_stranger_in_mid_call(self) -> None:
        """Connected sockets hear no stranger, and a stranger hears nothing."""
        self.speak(self.alice, self.a, 5)
        self.heard(self.bob)
        self.speak(self.mallory, self.a, 9, b"injected")
        self.assertEqual((self.heard(self.bob), self.heard(self.mallory)), ([], []))

    def test_phone_gone(self) -> None:
        """A phone whose port is closed (ICMP) costs nothing but its own packets."""
        self.speak(self.bob, self.b, 3)
        self.heard(self.alice)
        self.bob.close()
        for _ in range(5):
            self.speak(self.alice, self.a, 1)
            self.heard(self.alice)
        self.assertEqual(self.loop.broken, 0)
        self.assertGreater(self.plane.counts(self.a)[0].packets_in, 4)

    def test_reoffered(self) -> None:
        """After a new offer/answer the socket is free for a new source, and then closed again."""
        self.speak(self.alice, self.a, 3)
        self.heard(self.bob)
        moved = self.phone()
        self.successResultOf(self.plane.offer(self.a, self.b, description("127.0.0.1", audio(moved.getsockname()[1]))))
        self.successResultOf(self.plane.answer(self.b, self.a, description("127.0.0.1", audio(self.bob.getsockname()[1]))))
        self.speak(moved, self.a, 3, b"moved")
        self.speak(self.alice, self.a, 3, b"old")
        self.assertEqual(self.heard(self.bob), [b"moved"] * 3)
        self.speak(self.bob, self.b, 2)
        self.assertEqual((len(self.heard(moved)), self.heard(self.alice)), (2, []))

    def test_exception(self) -> None:
        """Code that raises in the middle of a packet is logged once, and the loop goes on."""

        def broken(packet: memoryview) -> None:
            raise RuntimeError("broken")

        self.speak(self.alice, self.a, 3)
        self.heard(self.bob)
        track = self.a.tracks[0]
        assert track is not None
        forward, track.stream.forward = track.stream.forward, broken
        self.speak(self.alice, self.a, 1)
        self.assertEqual(self.heard(self.bob), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        track.stream.forward = forward
        self.speak(self.alice, self.a, 1)
        self.assertEqual(len(self.heard(self.bob)), 1)


class StartTests(SynchronousTestCase):
    """How the service puts it together."""

    def test_start(self) -> None:
        """The loop is on the reactor, and nothing is open yet."""
        reactor = Readers()
        reactor.seconds = time.monotonic  # type: ignore[attr-defined]
        plane, media_loop, ports = start(reactor, Pool(), Logger())
        self.assertEqual((reactor.readers, plane.sizes()["ports_open"]), ([media_loop], 0))
        ports.close()
        media_loop.stop()
