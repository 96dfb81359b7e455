"""A client of rtpengine's control protocol: bencoded dictionaries over UDP."""

from __future__ import annotations

import re
import socket
import time
from itertools import count

from benchmarks.figures import Invalid
from benchmarks.servers import Server

Address = tuple[str, int]

_SDP = (
    "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)


class Rtpengine:
    """Asks an rtpengine for ports."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(2.0)
        self._socket.connect(address)
        self._cookies = count(1)

    def wait(self, server: Server) -> None:
        """Until it answers a ping."""
        end = time.monotonic() + 10.0
        while time.monotonic() < end and server.alive:
            try:
                self._ask({"command": "ping"})
            except (ConnectionRefusedError, TimeoutError):
                time.sleep(0.05)
            else:
                return
        raise Invalid(f"rtpengine does not answer: {server.last_words()}")

    def offer(self, call_id: str, media: Address) -> Address:
        """The offerer's media address; where the answerer is to send."""
        return self._media({"command": "offer", "call-id": call_id, "from-tag": "a", "sdp": _SDP.format(*media)})

    def answer(self, call_id: str, media: Address) -> Address:
        """The answerer's media address; where the offerer is to send."""
        return self._media({"command": "answer", "call-id": call_id, "from-tag": "a", "to-tag": "b", "sdp": _SDP.format(*media)})

    def _media(self, question: dict[str, str | list[str]]) -> Address:
        answer = self._ask(question | {"replace": ["origin", "session-connection"], "ICE": "remove"})
        host = re.search(rb"c=IN IP4 (\S+)", answer)
        port = re.search(rb"m=audio (\d+)", answer)
        if host is None or port is None:
            raise Invalid(f"rtpengine gives no port: {answer!r}")
        return host.group(1).decode("ascii"), int(port.group(1))

    def _ask(self, question: dict[str, str | list[str]]) -> bytes:
        cookie = b"%d " % next(self._cookies)
        self._socket.send(cookie + _bencode(question))
        while not (answer := self._socket.recv(65535)).startswith(cookie):
            pass
        return answer


def _bencode(value: str | list[str] | dict[str, str | list[str]]) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-8")
        return b"%d:%s" % (len(text), text)
    if isinstance(value, list):
        return b"l" + b"".join(map(_bencode, value)) + b"e"
    return b"d" + b"".join(_bencode(key) + _bencode(item) for key, item in sorted(value.items())) + b"e"
