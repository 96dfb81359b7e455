"""
Attacks against a server that runs, with the figures of its promises: what a stranger can send, and what it does to others.

The bounds leave room for a machine that has other things to do; what is measured stands in the failure's text.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from contextlib import ExitStack
from random import Random
from typing import ClassVar

from pbx.sip.digest import answer as digest_answer
from pbx.sip.digest import parse_challenges, strongest
from pbx.sip.message import Response, parse_message
from tests.interop.attacker import Flood, Port, percentile, request
from tests.interop.server import CALLEE_ADDRESS, CALLER_ADDRESS, PASSWORD, ServerTestCase
from tests.interop.sipp import Sipp
from tests.interop.tools import until
from tests.torture import rfc4475, rfc5118
from tests.torture.message import Fate

ATTACKER = "127.0.0.66"
BYSTANDER = "127.0.0.99"
VICTIM = "127.0.0.10"
DEAF = 1.0
"""Seconds without an answer that count as deaf."""
SLOW_CLIENTS_END = 30.0
"""Seconds after which a connection that has proved nothing is closed."""


class AttackTestCase(ServerTestCase):
    """One exchange, a stranger, and somebody who asks all the while whether it is there."""

    def setUp(self) -> None:
        super().setUp()
        self.server = (self.exchange.address, self.exchange.sip_port)
        self.target = f"sip:%s@{self.exchange.server}"
        self.good = self.port("127.0.0.1")

    def tearDown(self) -> None:
        with Port("127.0.0.1", self.server) as another:
            self.assertIsNotNone(another.ping(DEAF), "it is deaf")
        self.assert_no_errors()

    def port(self, address: str) -> Port:
        """A socket at ``address`` for this test."""
        port = Port(address, self.server)
        self.addCleanup(port.close)
        return port

    def shown(self, name: str) -> int:
        """A standing table of `sizes()`."""
        return int(self.exchange.shell_json("sizes().json()")["standing"][name])

    def delays(self, seconds: float) -> list[float]:
        """How long OPTIONS of somebody else take, one after the other for so long; one that is lost counts as deaf."""
        end = time.monotonic() + seconds
        found = []
        while time.monotonic() < end:
            delay = self.good.ping(DEAF)
            found.append(DEAF if delay is None else delay)
            time.sleep(0.03)  # below the rate of those who prove nothing
        return found

    def login(self, port: Port, user: str, password: str, method: str = "REGISTER") -> int:
        """The status of a request with credentials; 0: silence."""
        host, number = self.server
        uri = f"sip:{host}:{number}"
        challenged = port.ask(request(method, uri, port.at, user=user))
        if not challenged.startswith(b"SIP/2.0 401"):
            return int(challenged[8:11] or 0)
        response = parse_message(challenged)
        challenge = strongest(parse_challenges(response.headers["www-authenticate"]))
        assert challenge is not None
        line = digest_answer(challenge, method, uri, user, password, "cafe", 1)
        sent = request(method, uri, port.at, user=user, more=(f"Authorization: {line}",))
        # The address of record stands in To.
        sent = re.sub(rb"To: <[^>]*>", f"To: <sip:{user}@{host}>".encode(), sent)
        return int(port.ask(sent)[8:11] or 0)


class MessageTests(AttackTestCase):
    """Octets of every kind."""

    def test_torture_udp(self) -> None:
        """All 61 torture messages: refused as their RFC says, or served; it answers others all the while."""
        for message in rfc4475.MESSAGES + rfc5118.MESSAGES:
            with Port(ATTACKER, self.server) as stranger:
                stranger.send(message.data)
                heard = stranger.hear_all(0.05)
                self.assertIsNotNone(self.good.ping(DEAF), f"deaf after {message.name}")
                heard += stranger.hear_all(0.01)
            if message.fate is Fate.REFUSED:
                self.assertTrue(heard, f"no answer to {message.name}")
                self.assertIn(int(heard[0][8:11]), message.statuses, message.name)
            if message.data.startswith((b"SIP/2.0", b"ACK ")):
                self.assertEqual(heard, [], message.name)

    def test_torture_tcp(self) -> None:
        """The same on connections, each message cut in two at any place."""
        chance = Random(1)
        for message in rfc4475.MESSAGES + rfc5118.MESSAGES:
            with socket.create_connection(self.server, 2.0, (ATTACKER, 0)) as stranger, contextlib.suppress(OSError):
                cut = chance.randrange(len(message.data))
                stranger.sendall(message.data[:cut])
                stranger.sendall(message.data[cut:])
                stranger.settimeout(0.02)
                stranger.recv(65536)
            self.assertIsNotNone(self.good.ping(DEAF), f"deaf after {message.name}")

    def test_damaged(self) -> None:
        """Two thousand messages with octets changed, left out and doubled, of many addresses: never deaf, nothing left of them."""
        chance = Random(7)
        ports = [self.port(f"127.0.2.{number}") for number in range(1, 41)]
        originals = [message.data for message in rfc4475.MESSAGES + rfc5118.MESSAGES]
        for number in range(2000):
            data = bytearray(chance.choice(originals))
            for _ in range(chance.randrange(1, 8)):
                place = chance.randrange(len(data))
                match chance.randrange(3):
                    case 0:
                        data[place] = chance.randrange(256)
                    case 1:
                        del data[place : place + chance.randrange(1, 30)]
                    case _:
                        data[place:place] = data[place : place + chance.randrange(1, 30)]
            ports[number % len(ports)].send(bytes(data))
            if number % 100 == 0:
                self.assertIsNotNone(self.good.ping(DEAF), f"deaf after {number} messages")
        self.assert_no_calls()


class FloodTests(AttackTestCase):
    """A thousand bad requests a second."""

    def assert_others_are_served(self, flood: Flood) -> None:
        """p95 of good traffic stays within 50 ms of what it was, calls go through, and memory grows by 4 MB at most."""
        before = percentile(self.delays(0.5), 0.95)
        with flood:
            time.sleep(0.5)  # the tables have their sizes now
            memory = self.exchange.memory()
            with (
                Sipp("uas", address=CALLEE_ADDRESS, port=self.callee_port) as callee,
                Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=20, rate=10.0) as caller,
            ):
                after = percentile(self.delays(2.5), 0.95)
                calls = caller.wait(20.0)
                callee.finish()
        self.assertGreater(flood.sent, flood.rate)
        self.assertLess(after, before + 0.05, f"p95 {before * 1000:.1f} ms before, {after * 1000:.1f} ms under {flood.sent} messages")
        self.assertEqual((calls.successful, calls.failed), (20, 0), calls)
        self.assertLess(self.exchange.memory() - memory, 4 << 20)
        self.assert_no_calls()

    def test_one_address(self) -> None:
        """INVITEs of one address: past its rate they are dropped unread."""
        stranger = self.port(ATTACKER)
        self.assert_others_are_served(Flood(lambda _: stranger.send(request("INVITE", self.target % "100", stranger.at)), 1000.0))
        self.assertLess(self.shown("nonces"), 50)

    def test_many_addresses(self) -> None:
        """INVITEs of 250 addresses, each below its rate: each gets its challenge, and nothing is kept of any."""
        strangers = [self.port(f"127.0.3.{number}") for number in range(1, 251)]

        def send(number: int) -> None:
            stranger = strangers[number % len(strangers)]
            stranger.send(request("INVITE", self.target % "100", stranger.at))

        self.assert_others_are_served(Flood(send, 1000.0))
        self.assertTrue(strangers[0].hear().startswith(b"SIP/2.0 401"))

    def test_rubbish(self) -> None:
        """Octets that are no SIP."""
        stranger, chance = self.port(ATTACKER), Random(3)
        self.assert_others_are_served(Flood(lambda _: stranger.send(b"X" + chance.randbytes(400)), 1000.0))

    def test_connections(self) -> None:
        """Connections that are opened, used for half a message, and left: two hundred a second."""

        def send(_: int) -> None:
            with contextlib.suppress(OSError):
                stranger = socket.create_connection(self.server, 0.5, (ATTACKER, 0))
                stranger.sendall(b"INVITE sip:100@x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK1\r\n")
                stranger.close()

        self.assert_others_are_served(Flood(send, 200.0))


class GuessingTests(AttackTestCase):
    """Who tries passwords."""

    def looked_at(self) -> list[str]:
        """The tries that were looked at, as fail2ban sees them."""
        return re.findall(rf"auth-fail ip={re.escape(ATTACKER)} user=(\S+)", self.exchange.log.read_text(errors="replace"))

    def test_guessing(self) -> None:
        """Ten tries a minute for one name, twenty in all, then silence; the user elsewhere is served, and the ban can be lifted."""
        stranger, victim = self.port(ATTACKER), self.port(VICTIM)
        for number in range(30):
            self.assertIn(self.login(stranger, "100", f"guess{number}"), (401, 0))
        until("ten tries in the log", lambda: len(self.looked_at()) >= 10, 3.0)
        self.assertLessEqual(len(self.looked_at()), 11)
        self.assertEqual(self.login(victim, "100", PASSWORD), 200)
        for number in range(30):
            self.login(stranger, f"10{number % 6 + 1}", "guess")
            if stranger.ping(0.3) is None:
                break
        self.assertIsNone(stranger.ping(DEAF))
        self.assertLessEqual(len(self.looked_at()), 20)
        self.assertEqual(self.login(victim, "101", PASSWORD), 200)
        self.assertEqual([ban["address"] for ban in self.exchange.shell_json("bans().json()")], [ATTACKER])
        self.exchange.shell(f"lift({ATTACKER!r})")
        self.assertIsNotNone(stranger.ping(DEAF))

    def test_names_cannot_be_told_apart(self) -> None:
        """An extension that exists and one that does not get the same answers, to no password and to a wrong one."""
        stranger = self.port("127.0.0.67")
        said = []
        for user in ("102", "999"):
            uri = self.target % user
            plain = stranger.ask(request("REGISTER", uri, stranger.at, user=user))
            said.append((re.sub(rb"=[^\r;,]+|\d+", b"", plain), self.login(stranger, user, "wrong")))
        self.assertEqual(said[0], said[1])


class ReflectionTests(AttackTestCase):
    """It is no weapon against a third party."""

    def test_third_address(self) -> None:
        """Whatever Via, Contact, Route and Record-Route name: not a packet goes there."""
        stranger, bystander = self.port(ATTACKER), self.port(BYSTANDER)
        there = f"{bystander.at[0]}:{bystander.at[1]}"
        vias = (there, f"{there};rport", f"{stranger.at[0]};maddr={BYSTANDER};rport={bystander.at[1]}", f"x;received={BYSTANDER}")
        lines = (
            (f"Route: <sip:{there};lr>",),
            (f"Record-Route: <sip:{there};lr>",),
            (f"Contact: <sip:a@{there}>", f"Path: <sip:{there};lr>", "Supported: path"),
        )
        for method in ("INVITE", "REGISTER", "OPTIONS", "MESSAGE", "BYE", "CANCEL", "SUBSCRIBE", "NOTIFY", "REFER", "ACK"):
            for via in vias:
                for more in lines:
                    stranger.send(request(method, self.target % "100", stranger.at, via=via, more=more))
        self.assertEqual(bystander.hear_all(1.0), [])

    def test_octets_back(self) -> None:
        """At most twice the octets for requests of 300 and more, three times for shorter ones, and nothing is repeated."""
        for method in ("INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "BYE", "PUBLISH", "FOO"):
            for more in ((), (f"Subject: {'x' * 200}",), ("Require: a, b, c",), ("To: <sip:twice@x>",)):
                with Port(ATTACKER, self.server) as stranger:
                    sent = request(method, self.target % "100", stranger.at, more=more)
                    stranger.send(sent)
                    back = sum(map(len, stranger.hear_all(0.05)))
                self.assertLessEqual(back, len(sent) * (2 if len(sent) >= 300 else 3), sent.decode())

    def test_shortest(self) -> None:
        """The shortest request that is answered at all, and one that is broken: three times its octets at most."""
        for data in (
            b"OPTIONS sip:x SIP/2.0\r\nv:SIP/2.0/UDP x;branch=z9hG4bK%d\r\nf:<sip:x>;tag=1\r\nt:<sip:x>\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n"
            % id(self),
            b"INVITE sip:x SIP/2.0\r\nv:SIP/2.0/UDP x;branch=z9hG4bK%d\r\nf:<sip:x>;tag=1\r\nt:<sip:x>\r\ni:1\r\nCSeq:1 INVITE\r\n\r\n"
            % id(self),
            b"INVITE sip:x SIP/2.0\r\nv:SIP/2.0/UDP x\r\n\r\n",
        ):
            with Port(ATTACKER, self.server) as stranger:
                stranger.send(data)
                heard = stranger.hear_all(0.3)
            self.assertLessEqual(sum(map(len, heard)), 3 * len(data), b"\n".join(heard).decode())


class MediaTests(AttackTestCase):
    """Packets of strangers at the ports of a call."""

    def test_stranger(self) -> None:
        """A caller hears his own echo; a stranger at the same port gets nothing, and nothing of his reaches the caller."""
        caller, media = self.port(CALLER_ADDRESS), self.port(CALLER_ADDRESS)
        stranger = self.port(ATTACKER)
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 {CALLER_ADDRESS}\r\ns=-\r\nc=IN IP4 {CALLER_ADDRESS}\r\nt=0 0\r\nm=audio {media.at[1]} RTP/AVP 0\r\n"
        )
        invite = request("INVITE", self.target % "600", caller.at, user="301", more=("Content-Type: application/sdp",), body=offer)
        response = parse_message(caller.ask(invite, 3.0))
        assert isinstance(response, Response)
        self.assertEqual(response.status, 200)
        found = re.search(rb"m=audio (\d+) ", response.body)
        assert found is not None
        there = (self.exchange.address, int(found[1]))
        ack = re.sub(rb"CSeq: 1 INVITE", b"CSeq: 1 ACK", invite).replace(b"INVITE ", b"ACK ", 1).partition(b"Content-Type")[0]
        ack = re.sub(rb"To: [^\r]*", f"To: {response.headers['to'][0]}".encode(), ack)
        ack = re.sub(rb"branch=[^\r]*", b"branch=z9hG4bKack", ack) + b"Content-Length: 0\r\n\r\n"
        caller.send(ack)

        def rtp(number: int, letter: bytes) -> bytes:
            return b"\x80\x00" + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + letter * 4 + letter * 160

        for number in range(50):
            stranger.send(rtp(number, b"S"), there)
            media.send(rtp(number, b"C"), there)
            time.sleep(0.01)
        echoed = media.hear_all(0.3)
        self.assertGreater(len(echoed), 40)
        self.assertEqual([packet for packet in echoed if b"S" * 100 in packet], [])
        self.assertEqual(stranger.hear_all(0.3), [])
        bye = re.sub(rb"branch=[^\r]*", b"branch=z9hG4bKbye", ack).replace(b"ACK ", b"BYE ", 1).replace(b"CSeq: 1 ACK", b"CSeq: 2 BYE")
        self.assertTrue(caller.ask(bye).startswith(b"SIP/2.0 200"))
        for number in range(50, 60):
            media.send(rtp(number, b"C"), there)
        self.assertEqual([packet for packet in media.hear_all(1.0) if packet[1] == 0], [], "the relay outlives the BYE")
        self.assert_no_calls()


class SlowClientTests(AttackTestCase):
    """Connections that are there to be there."""

    clients: ClassVar[list[socket.socket]]
    began: ClassVar[float]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """A hundred of them, from the very beginning."""
        super().prepare(stack)
        server = (cls.exchange.address, cls.exchange.sip_port)
        cls.clients = [stack.enter_context(socket.create_connection(server, 2.0, (ATTACKER, 0))) for _ in range(60)]
        cls.began = time.monotonic()

    def test_slow_clients(self) -> None:
        """Silent ones, ones that send a letter a second, and ones that do not read: closed after 30 s, and others are served meanwhile."""
        silent, dripping, deaf = self.clients[:20], self.clients[20:40], self.clients[40:]
        for one in deaf:
            one.setblocking(False)
        ping = (
            b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK%d\r\nFrom: <sip:x>;tag=1\r\nTo: <sip:x>\r\n"
            b"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        letters = iter(b"INVITE sip:100@x SIP/2.0\r\nVia: SIP/2.0/TCP x" * 3)
        while time.monotonic() < self.began + SLOW_CLIENTS_END + 1.0:
            letter = bytes((next(letters),))
            for one in dripping:
                with contextlib.suppress(OSError):
                    one.send(letter)
            for number, one in enumerate(deaf):
                with contextlib.suppress(OSError):
                    one.send(ping % number * 20)
            self.assertIsNotNone(self.good.ping(DEAF))
            with socket.create_connection(self.server, 1.0, ("127.0.0.1", 0)) as another:
                another.sendall(ping % 0)
                another.settimeout(DEAF)
                self.assertTrue(another.recv(100).startswith(b"SIP/2.0 200"))
            time.sleep(1.0)
        self.assertEqual([self.is_open(one) for one in silent + dripping], [False] * 40)
        until("no connection that has proved nothing", lambda: self.shown("unproven_connections") == 0, 10.0)
        self.assertEqual(sum(self.is_open(one) for one in deaf), 0)

    def is_open(self, one: socket.socket) -> bool:
        """Whether the server still holds a connection; what it has said is read first."""
        one.settimeout(0.2)
        try:
            while one.recv(65536):
                pass
        except TimeoutError:
            return True
        except OSError:
            return False
        return False


class DeadDnsTests(AttackTestCase):
    """The only DNS server is silent, and a line, a trunk and a call want names found."""

    nobody: ClassVar[socket.socket]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """A socket that hears the questions and answers none."""
        cls.nobody = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        cls.nobody.bind(("127.0.0.1", 0))
        cls.more = (
            f'[dns]\nservers = ["127.0.0.1:{cls.nobody.getsockname()[1]}"]\ntimeout = 2.0\n'
            '[lines.dead]\nregistrar = "sip.carrier.invalid"\nuser = "1"\npassword = "secret-of-a-line"\n'
            '[trunks.dead]\naddress = "trunk.invalid"\nprefixes = ["8"]\n'
        )
        super().prepare(stack)

    def test_local_calls(self) -> None:
        """Calls within the house go through, OPTIONS are answered as fast as ever, calls out are refused."""
        self.nobody.settimeout(3.0)
        self.assertTrue(self.nobody.recv(512))  # it asks
        caller = self.port(CALLER_ADDRESS)
        calls_out = Flood(lambda _: caller.send(request("INVITE", self.target % "81234", caller.at, user="301")), 10.0)
        with (
            calls_out,
            Sipp("uas", address=CALLEE_ADDRESS, port=self.callee_port) as callee,
            Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="300", calls=20, rate=10.0) as local,
        ):
            delays = self.delays(3.0)
            calls = local.wait(20.0)
            callee.finish()
        self.assertEqual((calls.successful, calls.failed), (20, 0), calls)
        self.assertLess(percentile(delays, 0.95), 0.05, f"p95 {percentile(delays, 0.95) * 1000:.1f} ms")
        self.assertLess(max(delays), DEAF)
        refused = {data[8:11] for data in caller.hear_all(0.5) if not data.startswith(b"SIP/2.0 1")}
        self.assertTrue(refused and refused <= {b"480", b"503"}, refused)
        until("no call left", lambda: self.calls() == 0, 20.0)
