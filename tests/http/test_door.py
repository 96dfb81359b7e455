"""Connections: what a client may send, and how long it may take."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pbx.http.door import LINGER, MOST_CONNECTIONS, MOST_OCTETS, RECEIVE_WITHIN
from pbx.testing.http import HttpConnection

from .base import HttpTestCase


class DoorTestCase(HttpTestCase):
    """Has connections."""

    def open(self, *data: bytes) -> HttpConnection:
        """A connection on which that was sent."""
        connection = self.client.connect()
        for part in data:
            connection.send(part)
            self.world.run(0.01)
        return connection

    def statuses(self, connection: HttpConnection) -> list[int]:
        self.world.run(0.05)
        return [response.status for response in connection.responses()]

    @property
    def open_connections(self) -> int:
        return len(self.world.service.getServiceNamed("http").door.channels)

    def head(self, *lines: str, method: str = "POST", target: str = "/api/callbacks") -> bytes:
        return "\r\n".join([f"{method} {target} HTTP/1.1", f"Authorization: Bearer {self.client.token}", *lines, "", ""]).encode()


class SizeTests(DoorTestCase):
    """What is too much."""

    def test_huge_body(self) -> None:
        """A body that says it is too long is refused at its header: 413, before an octet of it has come."""
        connection = self.open(self.head(f"Content-Length: {MOST_OCTETS + 1}"))
        self.assertEqual(self.statuses(connection), [413])
        (response,) = connection.responses()
        self.assertEqual((response.json["field"], response.headers["connection"]), (None, "close"))

    def test_expect(self) -> None:
        """It is refused as well where the client waits for 100 (RFC 9110 §10.1.1), which it does not get."""
        self.assertEqual(self.statuses(self.open(self.head(f"Content-Length: {MOST_OCTETS + 1}", "Expect: 100-continue"))), [413])
        fits = self.open(self.head("Content-Length: 2", "Expect: 100-continue"))
        self.assertEqual(self.statuses(fits), [100])

    def test_chunks(self) -> None:
        """A body in chunks, which does not say how long it is, is refused at the first octet too many, and the rest is not kept."""
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        connection = self.open(self.head("Transfer-Encoding: chunked"), *[chunk] * 4)
        self.assertEqual(self.statuses(connection), [])
        connection.send(chunk)
        self.assertEqual(self.statuses(connection), [413])
        for _ in range(50):
            connection.send(chunk)
        self.assertEqual(self.statuses(connection), [413])

    def test_whole_too_long(self) -> None:
        """Nothing is carried out of a body that was too long, though what fits of it would do and its end came at once."""
        chunks = [b'20\r\n{"called1": "1", "called2": "2"}\r\n', *[b"4000\r\n" + b" " * 0x4000 + b"\r\n"] * 5, b"0\r\n\r\n"]
        self.assertEqual(self.statuses(self.open(self.head("Transfer-Encoding: chunked") + b"".join(chunks))), [413])
        self.assertEqual(self.world.service.generation.instances["callback"].kept, {})

    def test_largest(self) -> None:
        """The largest body that fits is read, in one piece or in chunks."""
        body = b'{"called1": "1", "called2": "2"}'.ljust(MOST_OCTETS)
        self.assertEqual(self.ask("POST", "/api/callbacks", body).status, 201)
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
        self.assertEqual(self.statuses(self.open(self.head("Transfer-Encoding: chunked"), chunks)), [201])

    def test_refused_are_heard_no_more(self) -> None:
        """Who was refused may send for a moment, so that the answer gets through, and is then cut off."""
        connection = self.open(self.head("Content-Length: 99999999"))
        for _ in range(3):
            connection.send(b"x" * 65536)
        self.world.run(LINGER / 2)
        self.assertEqual((self.statuses(connection), connection.closed), ([413], False))
        self.world.run(LINGER)
        self.assertEqual((connection.closed, self.open_connections), (True, 0))

    def test_huge_header(self) -> None:
        """Headers that are too long, or too many, are refused."""
        for data in (
            b"GET /" + b"a" * 20_000,
            self.head("X: " + "a" * 9000),
            self.head(*["X: y"] * 101),
            self.head(*[f"X-{number}: {'y' * 100}" for number in range(90)]),
        ):
            (status,) = self.statuses(self.open(data))
            self.assertIn(status, (400, 431), data[:60])


class BrokenTests(DoorTestCase):
    """What is no HTTP."""

    def test_broken(self) -> None:
        """It gets 400 in the same shape as everything else, and the log stays quiet."""
        for data in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"\x00\xff\r\n\r\n",
            b"INVITE sip:100@pbx SIP/2.0\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n(odd): x\r\n\r\n",
            self.head("Content-Length: -1"),
            self.head("Content-Length: 1, 1"),
            self.head("Content-Length: 1", "Content-Length: 2"),
            self.head("Content-Length: 2", "Transfer-Encoding: chunked"),
            self.head("Transfer-Encoding: gzip"),
            self.head("Content-Length: " + "9" * 5000),
            self.head("Transfer-Encoding: chunked") + b"zz\r\n",
            self.head("Transfer-Encoding: chunked") + b"-1\r\n",
        ):
            connection = self.open(data)
            self.assertEqual(self.statuses(connection), [400], data[:60])
            self.assertIsNone(connection.responses()[0].json["field"])
        self.assertEqual(self.get("/healthz").status, 200)

    def test_broken_later(self) -> None:
        """So does what comes behind a request that is in order; nothing behind it is looked at."""
        request = b"GET /healthz HTTP/1.1\r\n\r\n"
        for data in (b"nonsense\r\n\r\n", self.head("Content-Length: " + "9" * 5000), self.head("Content-Length: 99999")):
            statuses = self.statuses(self.open(request + data + request))
            self.assertEqual((len(statuses), statuses[0]), (2, 200))
            self.assertIn(statuses[1], (400, 413))

    def test_vanished(self) -> None:
        """A client that is gone in the middle leaves nothing."""
        for data in (b"", b"GET /he", self.head("Content-Length: 10") + b"{", self.head("Content-Length: 99999")):
            connection = self.open(data) if data else self.open()
            assert connection.transport is not None
            connection.transport.abortConnection()  # type: ignore[attr-defined]
        self.world.run(0.1)
        self.assertEqual(self.open_connections, 0)


class TimeTests(DoorTestCase):
    """How long a client may take."""

    def test_silent(self) -> None:
        """Who connects and says nothing is closed."""
        connection = self.open()
        self.world.run(RECEIVE_WITHIN - 1.0)
        self.assertFalse(connection.closed)
        self.world.run(1.1)
        self.assertEqual((connection.closed, self.open_connections), (True, 0))

    def test_drop_by_drop(self) -> None:
        """An octet now and then does not help: the time is for the whole request."""
        for begun in (b"GET /healthz HTTP/1.1\r\nX: ", self.head("Content-Length: 1000")):
            connection = self.open(begun)
            for _ in range(int(RECEIVE_WITHIN) + 1):
                connection.send(b"x")
                self.world.run(1.0)
            self.assertEqual((connection.closed, connection.responses()), (True, []))

    def test_kept_open(self) -> None:
        """Several requests come over one connection, each with its own time; also when they are sent at once."""
        request = b"GET /healthz HTTP/1.1\r\n\r\n"
        connection = self.open(request)
        for _ in range(3):
            self.world.run(RECEIVE_WITHIN - 1.0)
            connection.send(request)
            self.world.run(0.01)
        self.assertEqual(self.statuses(connection), [200] * 4)
        connection.send(request * 5)
        self.assertEqual(self.statuses(connection), [200] * 9)
        self.world.run(RECEIVE_WITHIN + 0.1)
        self.assertTrue(connection.closed)

    def test_takes_no_answer(self) -> None:
        """Who asks and does not take the answer is cut off too, also on a connection that was to be closed."""
        connection = self.open()
        assert connection.transport is not None
        connection.transport.pauseProducing()  # type: ignore[attr-defined]
        connection.send(self.client.request("GET", "/metrics"))
        self.world.run(RECEIVE_WITHIN + 0.1)
        self.assertEqual(self.open_connections, 0)

    def test_bounded(self) -> None:
        """With one connection too many the oldest that asks nothing is closed: whoever comes and asks is served."""
        self.answers_never()
        busy = self.open(self.client.request("GET", "/api/callbacks/1"))
        idle = [self.open() for _ in range(MOST_CONNECTIONS - 1)]
        late = self.open(b"GET /healthz HTTP/1.1\r\n\r\n")
        self.assertEqual(self.statuses(late), [200])
        self.assertEqual([connection.closed for connection in (busy, *idle)], [False, True] + [False] * (MOST_CONNECTIONS - 2))
        self.assertEqual(self.open_connections, MOST_CONNECTIONS)

    def test_all_busy(self) -> None:
        """Where all are being answered, one more is closed unheard, until there is room again."""
        self.answers_never()
        busy = [self.open(self.client.request("GET", "/api/callbacks/1")) for _ in range(MOST_CONNECTIONS)]
        late = self.open()
        self.assertEqual([connection.closed for connection in (*busy, late)], [False] * MOST_CONNECTIONS + [True])
        assert busy[0].transport is not None
        busy[0].transport.loseConnection()
        self.world.run(0.1)
        self.assertEqual(self.get("/healthz").status, 200)

    def answers_never(self) -> None:
        """From now on, callbacks are not told of."""
        plugin = self.world.service.generation.instances["callback"]
        self.patch(plugin, "_a_moment", Deferred)

    def test_old_version(self) -> None:
        """HTTP/1.0 is answered, and the connection closed."""
        connection = self.open(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual((self.statuses(connection), connection.closed), ([200], True))
