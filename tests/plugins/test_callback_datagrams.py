"""The grammar of callback datagrams (REFERENCE §6)."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.plugins.callback.datagrams import Datagram, Dropped, Method, moment, read, stamp, written

WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=",;="), min_size=1).map(str.strip).filter(bool)
OWN = WORDS.map(str.lower).filter(lambda name: name not in ("id", "time", "hmac", "result", "duration", "starttime", "cause"))


class ReadTests(SynchronousTestCase):
    """What comes in."""

    def test_request(self) -> None:
        """The example of the contract."""
        text = b"REQUEST: id=7f3a, called1=101, called2=913901088888, caller1=2001, caller2=2001, maxduration=3600"
        pairs = {"called1": "101", "called2": "913901088888", "caller1": "2001", "caller2": "2001", "maxduration": "3600"}
        self.assertEqual(read(text), Datagram(Method.REQUEST, "7f3a", pairs))

    def test_free_form(self) -> None:
        """Commas or semicolons, blanks or none, names in any case: all mean the same."""
        self.assertEqual(read(b"request :ID= 1 ;Called1=2;  CALLED2 =3"), read(b"REQUEST: id=1, called1=2, called2=3"))

    def test_values_are_kept(self) -> None:
        """Values keep their case, blanks inside, and further equals signs; UTF-8 is text."""
        datagram = read("REQUEST: id=aB c=d, note=Grüße, called1=1".encode())
        self.assertEqual((datagram.id, datagram.others), ("aB c=d", (("note", "Grüße"),)))

    def test_unsound(self) -> None:
        """A pair without ``=``, without a name or a value, twice the same, or an id that is too long."""
        for more in (", called2", ", called2=", ", =3", ",", ",,x=1", ", called1=5", ", ID=2", ", x=1, X=2", ", called2= "):
            self.assertFalse(read(f"REQUEST: id=1, called1=2{more}".encode()).is_sound, more)
        self.assertFalse(read(b"REQUEST: id=" + b"x" * 65).is_sound)
        self.assertTrue(read(b"REQUEST: id=" + b"x" * 64).is_sound)

    def dropped(self, data: bytes, secret: str = "") -> str:
        """Why it is dropped."""
        return str(self.assertRaises(Dropped, read, data, secret).reason)

    def test_dropped(self) -> None:
        """What nobody could be answered, or should not be."""
        for data, reason in (
            (b"", "no method"),
            (b"REQUEST id=1", "no method"),
            (b"HELLO: id=1", "unknown method"),
            (b"id: id=1", "unknown method"),
            (b": id=1", "unknown method"),
            (b"REQUEST:", "no id"),
            (b"REQUEST: called1=1", "no id"),
            (b"REQUEST: id=", "no id"),
            (b"REQUEST: id=1\xff", "not UTF-8"),
            (b"REQUEST: id=1\r\n", "control characters"),
            (b"REQUEST: id=\x001", "control characters"),
            ("REQUEST: id=1\x85".encode(), "control characters"),
            (b"REQUEST: id=1, x=" + b"y" * 1400, "too large"),
            (b"\x00" * 65507, "too large"),
        ):
            self.assertEqual(self.dropped(data), reason, data[:40])

    def test_largest(self) -> None:
        """1400 octets are read, 1401 are not."""
        start = b"REQUEST: id=1, x="
        self.assertEqual(read(start + b"y" * (1400 - len(start))).id, "1")
        self.assertEqual(self.dropped(start + b"y" * (1401 - len(start))), "too large")

    def test_signed(self) -> None:
        """The hmac is that of RFC 2104 with SHA-256 over all before it; a known value, made by ``openssl dgst -sha256 -hmac``."""
        signature = "59018e7fcd395e26a28dbc64610fb1eda9eaf70b4c0ed095f574bd786d881ed6"
        data = written(Method.CANCEL, (("id", "7f3a"), ("time", "20260101T101500Z")), "a-long-secret")
        self.assertEqual(data.decode(), f"CANCEL: id=7f3a, time=20260101T101500Z, hmac={signature}")
        for octets in (data, data.replace(signature.encode(), signature.upper().encode())):
            datagram = read(octets, "a-long-secret")
            self.assertEqual((datagram.pairs, datagram.signature), ({"time": "20260101T101500Z"}, signature))

    def test_wrongly_signed(self) -> None:
        """Nothing that is not signed with the secret is read, however it is put."""
        data = written(Method.REQUEST, (("id", "1"), ("called1", "2")), "a-long-secret")
        for wrong in (
            b"REQUEST: id=1, called1=2",
            data.replace(b"called1=2", b"called1=3"),
            data[:-1],
            data[:-1] + b"g",
            data + b", x=1",
            data.replace(b", hmac=", b",hmac="),
            data.rpartition(b"=")[0] + b"=",
            data.rpartition(b"=")[0] + b"=\xff\xfe",
            written(Method.REQUEST, (("id", "1"), ("called1", "2")), "another-secret"),
        ):
            self.assertEqual(self.dropped(wrong, "a-long-secret"), "wrong hmac", wrong)

    def test_hmac_without_a_secret(self) -> None:
        """It is passed over."""
        self.assertEqual(read(b"CANCEL: id=1, hmac=aa"), Datagram(Method.CANCEL, "1", {"hmac": "aa"}))


class PropertyTests(SynchronousTestCase):
    """For all that can come."""

    @given(st.binary(max_size=200), st.sampled_from(("", "a-long-secret")))
    def test_any_octets(self, data: bytes, secret: str) -> None:
        """Any octets are a datagram, or dropped; nothing else is ever raised."""
        for octets in (data, b"REQUEST: id=1, " + data):
            with contextlib.suppress(Dropped):
                read(octets, secret)

    @given(st.sampled_from(Method), WORDS, st.dictionaries(OWN, WORDS, max_size=5), st.sampled_from(("", "a-long-secret")))
    def test_back_and_forth(self, method: Method, own: str, others: dict[str, str], secret: str) -> None:
        """What is written is read back as it was."""
        data = written(method, (("id", own), *others.items()), secret)
        if len(data) <= 1400:
            datagram = read(data, secret)
            self.assertEqual((datagram.method, datagram.id), (method, own))
            known = {name: value for name, value in others.items() if name in datagram.pairs}
            self.assertEqual({**known, **dict(datagram.others)}, others)


class StampTests(SynchronousTestCase):
    """Moments."""

    def test_stamp(self) -> None:
        """UTC, to the second."""
        self.assertEqual(stamp(1767262500.9), "20260101T101500Z")
        self.assertEqual(moment("20260101T101500Z"), 1767262500.0)

    def test_no_stamp(self) -> None:
        """Anything else is none."""
        for text in ("", "now", "20260101T101500", "2026-01-01T10:15:00Z", "20261301T101500Z", "20260101T101500Z ", "２0260101T101500Z"):
            self.assertIsNone(moment(text), text)
