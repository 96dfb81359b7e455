"""
An HTTP client in a `World`: the real server on the network in memory.

    world = World(f'[http]\\nlisten = "tcp:8080"\\ntokens = ["test:{hashed("a long one")}"]')
    client = HttpClient(world, "a long one")
    assert client.get("/api/calls").json == []
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import ClientFactory, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbx.testing.world import World


@dataclass(frozen=True)
class Response:
    """
    What came back.

    Attributes:
        status: As in ``200``.
        headers: By name in small letters.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class HttpConnection(Protocol):
    """
    One connection, for those who want to send octets of their own.

    Attributes:
        received: All that came.
        closed: Whether the server has closed it.
    """

    def __init__(self) -> None:
        self.received = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        """Send octets."""
        assert self.transport is not None
        self.transport.write(data)

    def responses(self, *, to_head: bool = False) -> list[Response]:
        """All that is there whole."""
        found, rest = [], self.received
        while b"\r\n\r\n" in rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = 0 if to_head else int(headers.get("content-length", "0"))
            found.append(Response(int(first.split(" ")[1]), headers, rest[:length]))
            rest = rest[length:]
        return found


class HttpClient:
    """
    Asks.

    Args:
        world: Where the server is; its ``[http] listen`` names ``port``.
        token: What proves who asks; "" for nobody.
        address: Where the client is.
        port: Where the server listens.
    """

    def __init__(self, world: World, token: str = "", *, address: str = "198.51.100.200", port: int = 8080) -> None:
        self.token = token
        self._world = world
        self._address = address
        self._port = port

    def connect(self) -> HttpConnection:
        """A connection of one's own."""
        from pbx.testing.world import SERVER

        connection = HttpConnection()
        factory = ClientFactory.forProtocol(lambda: connection)
        factory.noisy = False
        self._world.network.host(self._address).connectTCP(SERVER[0], self._port, factory)
        self._world.run(0.01)
        return connection

    def ask(self, method: str, target: str, body: Any = None, *, headers: Mapping[str, str] | None = None, wait: float = 0.01) -> Response:
        """
        Ask, on a connection that is closed afterwards.

        Args:
            method: Of the request.
            target: Path and query.
            body: Octets as they are; anything else is sent as JSON.
            headers: Further ones.
            wait: Seconds until the answer has to be there.
        """
        connection = self.connect()
        connection.send(self.request(method, target, body, headers))
        self._world.run(wait)
        (response,) = connection.responses(to_head=method == "HEAD")
        return response

    def get(self, target: str) -> Response:
        """``GET``."""
        return self.ask("GET", target)

    def request(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The octets of a request."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = {"Host": "pbx.test", "Connection": "close"}
        if self.token:
            lines["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content
