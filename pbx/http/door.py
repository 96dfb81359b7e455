"""
The door: HTTP connections on ``twisted.web``, with bounds on what a client may send, and on how long it may take.

Nothing is kept of what is refused: a body that is too long is answered at its header, or at the octet that is one too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.web.http import RESPONSES, HTTPChannel, HTTPFactory, Request, datetimeToString
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from pbx.http.api import Api, Question, Reply, error
from pbx.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

MOST_OCTETS = 65_536
"""Of a body."""
MOST_CONNECTIONS = 64
"""Open at once; for one more, the one that has been waiting longest for a request is closed."""
RECEIVE_WITHIN = 20.0
"""Seconds for a request to come whole, those of waiting for it included: a drop now and then does not help."""
LINGER = 2.0
"""Seconds that a client which was refused may go on sending, unheard, so that it finds its answer."""

log = Log(namespace="pbx.http")


@provider(INonQueuedRequestFactory)
class HttpRequest(Request):
    """A request, and the way back."""

    channel: Channel
    _octets = 0

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self._gone = False
        self.notifyFinish().addErrback(self._lost)

    def handleContentChunk(self, data: bytes) -> None:
        """Part of the body: bodies without a length are counted as they come."""
        self._octets += len(data)
        if self._octets > MOST_OCTETS:
            self.channel.refuse(413, TOO_LONG)
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        """All of it is there: ask, and answer."""
        assert self.content is not None
        self.channel.answering = True
        peer = getattr(self.client, "host", None) or "unix"
        question = Question(
            method=self.method.decode("latin-1"),
            target=self.uri.decode("utf-8", "surrogateescape"),
            peer=peer,
            authorization=[one.decode("latin-1") for one in self.requestHeaders.getRawHeaders(b"authorization", [])],
            content_type=(self.getHeader(b"content-type") or b"").decode("latin-1"),
            body=self.content.read(),
        )
        answering = Deferred.fromCoroutine(self.channel.factory.api.reply(question))
        answering.addCallback(self._send)
        answering.addErrback(lambda failure: log.failure("an answer could not be sent", failure))

    def _send(self, reply: Reply) -> None:
        if self._gone:
            return
        self.setResponseCode(reply.status)
        for name, value in headers_of(reply, self.channel.factory.wall()).items():
            self.setHeader(name, value)
        self.write(reply.body)
        self.finish()

    def _lost(self, _: Failure) -> None:
        self._gone = True


class Channel(HTTPChannel):
    """
    A connection.

    Attributes:
        factory: The door it came through.
        refused: It was told so, and whatever it still sends is not looked at.
        answering: A request is being answered.
    """

    totalHeadersSize = 8192
    maxHeaders = 100
    requestFactory = HttpRequest  # type: ignore[assignment]  # as Twisted has it, only its own Request would do
    factory: Door
    transport: Any
    refused = False
    answering = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.channels[self] = None

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.channels.pop(self, None)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Never raises, whatever comes."""
        if self.refused:
            return
        try:
            super().dataReceived(data)
        except Exception:
            log.failure("{peer} sent what broke the reader of HTTP", peer=str(self.getPeer()))
            self.refuse(500, "the exchange failed; its log tells more")

    def resetTimeout(self) -> None:
        """Octets do not prolong the time: it is for a whole request."""

    def timeoutConnection(self) -> None:
        """The time is over."""
        self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, "a line of the header is too long")

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of more digits than Python reads
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > MOST_OCTETS:
            self.refuse(413, TOO_LONG)
        else:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self.refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if not self.refused:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self.answering = False
        super().requestDone(request)
        if not self.persistent:
            self.setTimeout(RECEIVE_WITHIN)  # for a client that does not take its answer

    def refuse(self, status: int, sentence: str) -> None:
        """Answer, and hear no more."""
        if self.refused:
            return
        self.refused = True
        self.factory.api.answered[status] += 1
        reply = error(status, sentence)
        lines = {**headers_of(reply, self.factory.wall()), "Connection": "close"}
        reason = RESPONSES.get(status, b"").decode()
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode("latin-1") + reply.body)
        self.setTimeout(LINGER)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own answer has no body.
        self.refuse(400, "this is not HTTP/1.1 as RFC 9112 has it")


class Door(HTTPFactory):
    """
    Takes connections.

    Args:
        api: Answers.
        reactor: For the time that requests may take.
        wall: Seconds of Unix time.

    Attributes:
        channels: The connections that are open, the oldest first.
    """

    protocol = Channel  # type: ignore[assignment]  # the channel itself: there is no HTTP/2 to choose
    noisy = False

    def __init__(self, api: Api, reactor: Any, wall: Callable[[], float]) -> None:
        super().__init__(timeout=RECEIVE_WITHIN, reactor=reactor)
        self.api = api
        self.wall = wall
        self.channels: dict[Channel, None] = {}

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.channels) >= MOST_CONNECTIONS:
            idle = next((channel for channel in self.channels if not channel.answering), None)
            if idle is None:
                return None
            del self.channels[idle]
            idle.transport.abortConnection()
        return super().buildProtocol(addr)

    def startFactory(self) -> None:
        """Twisted would begin to write a line for each request here."""

    def stopFactory(self) -> None:
        """Close what is open."""
        for channel in list(self.channels):
            channel.transport.abortConnection()


TOO_LONG = f"a body has {MOST_OCTETS} octets at most"


def headers_of(reply: Reply, now: float) -> dict[str, str]:
    """The header of a response."""
    return {
        "Date": datetimeToString(now).decode(),
        "Content-Type": reply.content_type,
        "Content-Length": str(len(reply.body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **reply.headers,
    }
