"""
What a session description costs: µs of CPU a step, the best of several rounds.

    python benchmarks/sdp.py

The offer is an ordinary one of audio and video. "floor" is the same text cut into lines and joined again, by which
another machine can be compared with this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pbx.sdp import Negotiation, parse_description, remove_bundle, select_audio, strip_ice, with_address

OFFER = (
    "v=0\r\n"
    "o=alice 2890844526 2890844526 IN IP4 192.0.2.17\r\n"
    "s=call\r\n"
    "c=IN IP4 192.0.2.17\r\n"
    "t=0 0\r\n"
    "m=audio 49170 RTP/AVP 96 9 0 8 101\r\n"
    "a=rtpmap:96 opus/48000/2\r\n"
    "a=fmtp:96 useinbandfec=1;stereo=0\r\n"
    "a=rtpmap:9 G722/8000\r\n"
    "a=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\n"
    "a=ptime:20\r\n"
    "a=rtcp:49171\r\n"
    "a=sendrecv\r\n"
    "m=video 51372 RTP/AVP 97\r\n"
    "b=AS:512\r\n"
    "a=rtpmap:97 H264/90000\r\n"
    "a=fmtp:97 profile-level-id=42e01f;packetization-mode=1\r\n"
    "a=rtcp-fb:* nack pli\r\n"
    "a=rtcp-fb:* ccm fir\r\n"
    "a=framerate:30.00\r\n"
    "a=rtcp:51373\r\n"
    "a=sendrecv\r\n"
)
ROUNDS = 7
REPEATS = 5000


def microseconds(step: Callable[[], object]) -> float:
    """Time ``step``: µs of CPU a call, in the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(REPEATS):
            step()
        best = min(best, time.process_time() - begin)
    return best / REPEATS * 1e6


def relay(negotiation: Negotiation) -> str:
    """Do what a relayed offer goes through: read, rewrite, print as ours."""
    description = with_address(remove_bundle(strip_ice(parse_description(OFFER))), "198.51.100.1")
    for media in description.media:
        media.port = 16384
    return negotiation.stamp(description)


def main() -> None:
    """Print the table."""
    parsed = parse_description(OFFER)
    negotiation = Negotiation(1)
    steps: dict[str, Callable[[], object]] = {
        "floor: cut into lines, join": lambda: "\r\n".join(OFFER.split("\r\n")),
        "parse": lambda: parse_description(OFFER),
        "print": lambda: str(parsed),
        "parse and print": lambda: str(parse_description(OFFER)),
        "copy": parsed.copy,
        "stamp": lambda: negotiation.stamp(parsed),
        "strip_ice, remove_bundle, with_address": lambda: with_address(remove_bundle(strip_ice(parsed)), "198.51.100.1"),
        "relay: parse, rewrite, stamp": lambda: relay(negotiation),
        "answer here": lambda: select_audio(parsed, "198.51.100.1", 16384),
    }
    print(f"an offer of {len(OFFER)} bytes, {OFFER.count(chr(10))} lines; µs of CPU")
    for name, step in steps.items():
        print(f"{name:42} {microseconds(step):6.2f}")


if __name__ == "__main__":
    main()
