"""Traces of one number."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pbx.interfaces import OperationError
from pbx.shell.pcap import HEADER, packet
from pbx.shell.tracing import BIGGEST, LONGEST, MOST_TRACES

from .base import Operator, ShellTestCase


def packets_of(data: bytes) -> list[tuple[float, bytes]]:
    """The records of a capture file: time, IP packet."""
    assert data[:24] == HEADER
    found, at = [], 24
    while at < len(data):
        seconds, micros, length, whole = struct.unpack_from("<IIII", data, at)
        assert length == whole
        found.append((seconds + micros / 1e6, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


class TraceTests(ShellTestCase):
    """``trace("101")``."""

    def test_live(self) -> None:
        """Both legs of a call to 101 appear on the terminal as they go by, with time and addresses."""
        self.operator.trace("101")
        self.talk()
        first = next(text for text in self.operator.shown if "INVITE sip:101" in text)
        self.assertTrue(first.startswith("--- 2027-01-15 "))
        self.assertIn(" received UDP 198.51.100.1:5060 -> 192.0.2.1:5060\nINVITE sip:101@192.0.2.1:5060 SIP/2.0\n", first)
        self.assertTrue(any(" sent UDP 192.0.2.1:5060 -> 198.51.100.2:5060\nINVITE sip:101@198" in text for text in self.operator.shown))

    def test_no_credentials(self) -> None:
        """The answer to a challenge is blanked."""
        self.operator.trace("100")
        self.world.phone("100")
        register = next(text for text in self.operator.shown if "Authorization: Digest" in text)
        self.assertIn(f'response="{"*" * 64}"', register)

    def test_others_are_not_shown(self) -> None:
        """A trace of 102 shows nothing of a call between 100 and 101."""
        self.operator.trace("102")
        self.talk()
        self.assertEqual(self.operator.shown, [])

    def test_off(self) -> None:
        """It ends when it is told to, and costs nothing any more."""
        self.operator.trace("101")
        self.operator.trace("101", off=True)
        self.assertEqual((len(self.operator.trace()), self.world.service.messages.watchers), (0, []))

    def test_ends_with_the_terminal(self) -> None:
        """Nobody looks at a terminal that is closed."""
        self.operator.trace("101")
        self.operator.trace("101", "kept.txt")
        self.operator.commands.gone()
        self.assertEqual([row["to"] for row in self.operator.trace()], [str(self.folder.resolve() / "kept.txt")])

    def test_bound(self) -> None:
        """There are never more than so many."""
        for _ in range(MOST_TRACES):
            self.operator.trace("101")
        self.assertIn("are on already", str(self.assertRaises(OperationError, self.operator.trace, "101")))

    def test_a_broken_one_ends(self) -> None:
        """What breaks in a trace ends that trace alone; the exchange does not notice."""

        def broken(text: str) -> None:
            raise ZeroDivisionError

        self.operator.commands._terminal.write = broken
        self.operator.trace("101")
        call_id = self.talk()
        self.assertEqual(self.operator.call(call_id).json()["phase"], "talking")
        self.assertEqual(len(self.operator.trace()), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FileTests(ShellTestCase):
    """``trace("101", "file")``."""

    def test_text(self) -> None:
        """A text file has what the terminal would show, and only the operator reads it."""
        self.operator.trace("101", "seen.txt")
        self.talk()
        self.operator.trace("101", off=True)
        path = self.folder / "seen.txt"
        self.assertIn("INVITE sip:101@192.0.2.1:5060 SIP/2.0\n", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_pcap(self) -> None:
        """A capture file has the messages as UDP packets at their times, with right addresses and no credentials."""
        self.operator.trace("101", "seen.pcap")
        self.talk()
        self.operator.trace("101", off=True)
        packets = packets_of((self.folder / "seen.pcap").read_bytes())
        invite = next(data for _, data in packets if data[28:].startswith(b"INVITE sip:101@192.0.2.1"))
        self.assertEqual((invite[12:16], invite[16:20]), (ip_address("198.51.100.1").packed, ip_address("192.0.2.1").packed))
        self.assertEqual(struct.unpack("!HH", invite[20:24]), (5060, 5060))
        register = next(data for _, data in packets if b"Authorization" in data)
        self.assertIn(b'response="***', register)
        self.assertAlmostEqual(packets[0][0], 1_800_000_000.5, 1)

    def test_not_elsewhere(self) -> None:
        """Files go under the state folder, into new ones."""
        for name in ("../seen.txt", "/tmp/seen.txt", "a/../../x.pcap"):
            self.assertIn("under", str(self.assertRaises(OperationError, self.operator.trace, "101", name)))
        (self.folder / "there.txt").write_text("x")
        self.assertIn("is there already", str(self.assertRaises(OperationError, self.operator.trace, "101", "there.txt")))
        self.operator.trace("101", "new/folder/x.pcap")

    def test_a_day_at_most(self) -> None:
        """A trace that was forgotten ends by itself."""
        self.operator.trace("101", "seen.txt")
        self.world.run(LONGEST + 1)
        self.assertEqual(len(self.operator.trace()), 0)

    def test_too_big(self) -> None:
        """A file has a bound."""
        trace, _ = self.operator.traces.to_file("101", "seen.txt")
        show = trace._show
        trace._show = lambda seen: show(seen._replace(data=b"x" * (BIGGEST + 1)))
        self.world.phone("101")
        self.assertEqual(len(self.operator.trace()), 0)

    def test_disk_full(self) -> None:
        """A disk that takes nothing ends the trace, with a line in the log."""
        operator = Operator(self.world, self.folder, lambda *_: fail(OSError(28, "No space left on device")))
        operator.trace("101", "seen.txt")
        self.world.phone("101")
        self.assertEqual(len(operator.trace()), 0)

    def test_never_in_the_loop(self) -> None:
        """Writing is done outside the loop, one piece at a time and in order."""
        jobs: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []

        def in_thread(function: Any, *arguments: Any) -> Deferred[Any]:
            jobs.append((Deferred(), function, arguments))
            return jobs[-1][0]

        def work() -> None:
            done, function, arguments = jobs.pop(0)
            done.callback(function(*arguments))

        operator = Operator(self.world, self.folder, in_thread)
        operator.trace("101", "seen.txt")
        self.world.phone("101")
        operator.trace("101", off=True)
        self.assertEqual(len(jobs), 1)
        while jobs:
            work()
        self.assertIn("REGISTER", (self.folder / "seen.txt").read_text())


class PacketTests(SynchronousTestCase):
    """RFC 791, 768, 8200."""

    def checksum_is_right(self, data: bytes) -> bool:
        data += b"\0" * (len(data) % 2)
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return bool(total == 0xFFFF)

    def test_ipv4(self) -> None:
        """Lengths and checksums are those of a real packet."""
        ip = packet(1.5, b"odd", ("192.0.2.1", 5060), ("198.51.100.1", 5062))[16:]
        self.assertEqual(struct.unpack_from("!H", ip, 2), (len(ip),))
        self.assertTrue(self.checksum_is_right(ip[:20]))
        self.assertTrue(self.checksum_is_right(ip[12:20] + struct.pack("!IHBB", len(ip) - 20, 0, 0, 17) + ip[20:]))

    def test_ipv6(self) -> None:
        """The UDP checksum is not optional there (RFC 8200 §8.1)."""
        ip = packet(0.0, b"text", ("2001:db8::1", 5060), ("2001:db8::2", 5062))[16:]
        self.assertTrue(self.checksum_is_right(ip[8:40] + struct.pack("!IHBB", len(ip) - 40, 0, 0, 17) + ip[40:]))

    def test_too_long(self) -> None:
        """What came over TCP may be longer than a datagram; it is cut off."""
        record = packet(0.0, b"x" * 70000, ("192.0.2.1", 5060), ("198.51.100.1", 5062))
        self.assertEqual(len(record), 16 + 65535)


class StateFolderTests(SynchronousTestCase):
    """Names of files."""

    def test_link(self) -> None:
        """A link out of the folder leads nowhere."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "out").symlink_to("/tmp")
        from pbx.shell.tracing import Traces

        traces = Traces(None, None, None, folder, None)  # type: ignore[arg-type]  # nothing but the name is looked at
        self.assertRaises(OperationError, traces.to_file, "101", "out/x.txt")
