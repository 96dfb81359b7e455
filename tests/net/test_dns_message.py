"""DNS messages: what is read, and that anything at all may come."""

from __future__ import annotations

import contextlib
import struct
import time
from random import Random
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.dns_message import MalformedAnswer, NamingPointer, Record, Service, is_host_name, question, read_answer


def answer(*records: Any, name: bytes = b"a.example", kind: int = dns.A) -> bytes:
    """A message of twisted.names with these answers."""
    message = dns.Message(7, answer=1, recAv=1)
    message.addQuery(name, kind)
    message.answers = [dns.RRHeader(name, record.TYPE, dns.IN, 60, record) for record in records]
    return message.toStr()


class ReadingTests(SynchronousTestCase):
    """Answers."""

    def test_records(self) -> None:
        """Each kind that leads to SIP servers is read; other kinds are passed over."""
        records = (
            dns.Record_A("192.0.2.1"),
            dns.Record_AAAA("2001:db8::1"),
            dns.Record_CNAME(b"B.example"),
            dns.Record_SRV(1, 2, 5060, b"c.example"),
            dns.Record_NAPTR(1, 2, b"S", b"sip+d2u", b"", b"_sip._udp.a.example"),
            dns.Record_TXT(b"hello"),
            dns.Record_SOA(b"ns", b"admin", 1, 2, 3, 4, 5),
        )
        message = read_answer(answer(*records))
        values = [record.value for record in message.answers]
        pointer = NamingPointer(1, 2, "s", "SIP+D2U", "", "_sip._udp.a.example")
        self.assertEqual(values, ["192.0.2.1", "2001:db8::1", "b.example", Service(1, 2, 5060, "c.example"), pointer, 5])
        self.assertEqual(message.answers[0], Record("a.example", "A", 60, "192.0.2.1"))
        self.assertEqual((message.question, message.response, message.recursion), (("a.example", "A"), "NOERROR", True))
        self.assertEqual([str(value) for value in values[3:5]], ["1 2 5060 c.example.", '1 2 "s" "SIP+D2U" "" _sip._udp.a.example.'])

    def test_odd_names(self) -> None:
        """Octets that no host name has are shown and never taken for a name."""
        message = read_answer(answer(dns.Record_CNAME(b"a\r\nb.x")))
        self.assertEqual(message.answers[0].value, "a\\013\\010b.x")
        self.assertFalse(is_host_name(message.answers[0].value))

    def test_question(self) -> None:
        """What is sent is a question for a server that asks others."""
        self.assertEqual(question("a.b", "SRV", 0x1234).hex(), "1234010000010000000000000161016200" + "00210001")

    def test_refused(self) -> None:
        """What is no answer is called so."""
        whole = answer(dns.Record_A("192.0.2.1"))
        for data in (b"", whole[:11], whole[:2] + b"\x00" + whole[3:], whole[:4] + b"\x00\x02" + whole[6:], whole[:-1], whole[:-8]):
            self.assertRaises(MalformedAnswer, read_answer, data)

    def test_any_octets(self) -> None:
        """Octets at random, and answers with octets changed, give a message or `MalformedAnswer`."""
        chance = Random(20)
        whole = answer(
            dns.Record_SRV(1, 2, 5060, b"c.example"),
            dns.Record_NAPTR(1, 2, b"S", b"sip+d2u", b"", b"b.example"),
            dns.Record_SOA(b"n", b"a", 1, 2, 3, 4, 5),
        )
        for _ in range(3000):
            data = bytearray(whole if chance.random() < 0.9 else chance.randbytes(chance.randrange(200)))
            for _ in range(chance.randrange(8)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            with contextlib.suppress(MalformedAnswer):
                read_answer(bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data))

    def test_costs_nothing(self) -> None:
        """Names of many labels and chains of pointers, as many as fit into 64 KiB, cost no time worth telling."""
        header = struct.pack("!6H", 1, 0x8180, 1, 250, 0, 0) + b"\x00\x00\x01\x00\x01"
        labels = b"\x01a" * 126 + b"\x00"
        pointers = b"".join(struct.pack("!H", 0xC000 | place) for place in range(len(header) - 2, len(header) + 16000 - 2, 2))
        for block in (labels * 100, pointers, b"\x01a" * 30000):
            began = time.process_time()
            self.assertRaises(MalformedAnswer, read_answer, (header + block)[:65535])
            self.assertLess(time.process_time() - began, 0.5)
