"""
The exchanges of RFC 3264 §10 and RFC 4317, as turns: who speaks, the version in ``o=``, where, and the streams.

An exchange is a list of turns, offer and answer by turns. The version counts from the first description of that side.
"""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = {"0": "PCMU/8000", "4": "G723/8000", "8": "PCMA/8000", "18": "G729/8000", "31": "H261/90000", "32": "MPV/90000"}
_DYNAMIC = {
    "97": "iLBC/8000",
    "98": "telephone-event/8000",
    "99": "iLBC/8000",
    "101": "telephone-event/8000",
    "110": "telephone-events/8000",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One description of an exchange."""

    who: str
    version: int
    streams: tuple[str, ...]
    address: str = ""

    @property
    def text(self) -> str:
        """The description as the RFC prints it."""
        host = {"alice": "host.atlanta.example.com", "bob": "host.biloxi.example.com"}[self.who]
        number = {"alice": 2890844526, "bob": 2808844564}[self.who]
        lines = ["v=0", f"o={self.who} {number} {number + self.version} IN IP4 {host}", "s=", f"c=IN IP4 {self.address or host}", "t=0 0"]
        for stream in self.streams:
            head, *attributes = stream.split(" | ")
            kind, port, *formats = head.split()
            lines.append(f"m={kind} {port} RTP/AVP {' '.join(formats)}")
            lines += [line for line in attributes if line.startswith("c=")]
            lines += [f"a=rtpmap:{number} {(_NAMES | _DYNAMIC)[number]}" for number in formats]
            lines += [line for line in attributes if line.startswith("a=")]
        return "".join(f"{line}\r\n" for line in lines)


def alice(version: int, *streams: str, address: str = "") -> Turn:
    """What Alice says."""
    return Turn("alice", version, streams, address)


def bob(version: int, *streams: str, address: str = "") -> Turn:
    """What Bob says."""
    return Turn("bob", version, streams, address)


EXCHANGES: dict[str, list[Turn]] = {
    "RFC 3264 §10.1": [
        alice(0, "audio 49170 0", "video 51372 31", "video 53000 32"),
        bob(0, "audio 49920 0", "video 0 31", "video 53000 32"),
        bob(1, "audio 65422 0", "video 0 31", "video 53000 32", "audio 51434 110 | a=recvonly"),
        alice(1, "audio 49170 0", "video 0 31", "video 53000 32", "audio 53122 110 | a=sendonly"),
    ],
    "RFC 3264 §10.2": [
        alice(0, "audio 62986 0 4 18 | a=inactive"),
        bob(0, "audio 54344 0 4 | a=inactive"),
        alice(1, "audio 62986 4 | a=sendrecv"),
        bob(1, "audio 54344 4 | a=sendrecv"),
    ],
    "RFC 4317 §2.1": [
        alice(0, "audio 49170 0 8 97", "video 51372 31 32"),
        bob(0, "audio 49174 0", "video 49170 32"),
    ],
    "RFC 4317 §2.2": [
        alice(0, "audio 49170 0 8 97", "video 51372 31 32"),
        bob(0, "audio 49172 0 8", "video 0 31"),
        alice(1, "audio 51372 0", "video 0 31"),
        bob(1, "audio 49172 0", "video 0 31"),
    ],
    "RFC 4317 §2.3": [
        alice(0, "audio 49170 0 8 97", "video 51372 31 32"),
        bob(0, "audio 49172 99", "video 51374 31"),
    ],
    "RFC 4317 §2.4": [
        alice(0, "audio 49170 0 97", "audio 49172 98 | a=sendonly"),
        bob(0, "audio 49172 97", "audio 49174 98 | a=recvonly"),
    ],
    "RFC 4317 §2.5": [
        alice(0, "audio 49170 97", "video 51372 31"),
        bob(0, "audio 49174 97", "video 49170 31"),
        bob(1, "audio 49178 97", "video 49188 31", address="newhost.biloxi.example.com"),
        alice(0, "audio 49170 97", "video 51372 31"),
    ],
    "RFC 4317 §2.6": [
        alice(0, "audio 49170 0", "audio 51372 97 101"),
        bob(0, "audio 0 0", "audio 49170 97 101"),
    ],
    "RFC 4317 §2.7": [
        alice(0, "audio 49170 99", "video 51372 31"),
        bob(0, "audio 49172 99", "video 51374 31"),
        alice(1, "audio 49170 99", "video 51372 31 32"),
        bob(1, "audio 49172 99", "video 51374 31 32"),
    ],
    "RFC 4317 §2.8": [
        alice(0, "audio 49170 0 8 97", "video 51372 31 32"),
        bob(0, "audio 49174 0", "video 49172 32 | c=IN IP4 otherhost.biloxi.example.com"),
    ],
    "RFC 4317 §3.1": [
        alice(0, "audio 49170 0 97"),
        bob(0, "audio 49172 97 | a=sendonly", address="placeholder.biloxi.example.com"),
        bob(1, "audio 49170 97"),
        alice(1, "audio 49178 97"),
    ],
    # The RFC has Alice answer in the end with an identical description under a new version, against RFC 3264 §8 and its
    # own §2.5: here she keeps the version.
    "RFC 4317 §3.2": [
        alice(0, "audio 49170 0 97", "audio 49172 98 | a=sendonly"),
        bob(0, "audio 49172 97", "audio 49174 98 | a=recvonly"),
        bob(1, "audio 49172 97 | a=sendonly", "audio 49174 98 | a=recvonly"),
        alice(0, "audio 49170 0 97", "audio 49172 98 | a=sendonly"),
    ],
    "RFC 4317 §4.1": [
        alice(0, "audio 49170 0 97"),
        bob(0, "audio 49170 97"),
        bob(1, "audio 49170 97", "audio 48282 98 | c=IN IP4 mediaserver.biloxi.example.com | a=recvonly"),
        alice(1, "audio 49170 97", "audio 49172 98 | c=IN IP4 host.atlanta.example.com | a=sendonly"),
    ],
    "RFC 4317 §4.2": [
        alice(0, "audio 49170 0"),
        bob(0, "audio 49172 0"),
        alice(1, "audio 49170 0", "video 49172 31"),
        bob(1, "audio 49172 0", "video 49168 31"),
    ],
    "RFC 4317 §4.3": [
        alice(0, "audio 49170 97", "video 51372 31"),
        bob(0, "audio 49174 97", "video 49170 31"),
        bob(1, "audio 49174 97", "video 0 31"),
        alice(1, "audio 49170 97", "video 0 31"),
    ],
    "RFC 4317 §5.1": [
        alice(0),
        bob(0),
        alice(1, "audio 49170 97"),
        bob(1, "audio 49172 97"),
    ],
    "RFC 4317 §5.2": [
        alice(0, "audio 23442 97", address="0.0.0.0"),
        bob(0, "audio 49170 97"),
        alice(1, "audio 49170 97"),
        bob(0, "audio 49170 97"),
    ],
    "RFC 4317 §5.3": [
        alice(0, "audio 49170 97"),
        bob(0, "audio 9322 97", address="0.0.0.0"),
        bob(1, "audio 49172 97"),
        alice(0, "audio 49170 97"),
    ],
}
