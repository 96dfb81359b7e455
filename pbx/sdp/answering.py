"""
Answers and offers made here, for calls that the exchange itself takes part in: a tone, an echo, a call it originates.

G.711 and telephone events over plain RTP, nothing else. What is relayed between two phones does not come here.
"""

from __future__ import annotations

from pbx.sdp.description import Description, Media, connection, family
from pbx.sdp.offer_answer import OfferAnswerError

CODECS = ("PCMU", "PCMA")
"""What can be spoken here; in an offer, in this order of preference."""

EVENTS = "telephone-event/8000"
"""Digits (RFC 4733), at the clock rate of the codec (§2.1)."""

_BESIDE_A_CODEC = ("TELEPHONE-EVENT/", "CN/")
"""What is sent in between, in the stream of a codec."""

_PLAIN_RTP = ("RTP/AVP", "RTP/AVPF")

# RFC 3264 §6.1: what may be answered, by what is offered: first what it allows of sending, then of receiving.
_MAY_SEND = ("sendrecv", "recvonly")
_MAY_RECEIVE = ("sendrecv", "sendonly")


def answer_direction(offered: str, wanted: str = "sendrecv") -> str:
    """
    Give the direction to answer: as much of ``wanted`` as ``offered`` leaves, seen from our side (RFC 3264 §6.1).

    Args:
        offered: The direction in the offer, as its sender sees it.
        wanted: What we would like, as we see it.
    """
    send = offered in _MAY_SEND and wanted in ("sendrecv", "sendonly")
    receive = offered in _MAY_RECEIVE and wanted in ("sendrecv", "recvonly")
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def refuse(media: Media) -> Media:
    """Give the answer that refuses an offered stream: port 0, a format for the form's sake, nothing else (RFC 3264 §6)."""
    return Media(media.kind, 0, media.proto, media.formats[:])


def select_audio(
    offer: Description,
    address: str,
    port: int,
    *,
    rtcp_port: int | None = None,
    mux: bool = False,
    direction: str = "sendrecv",
    codecs: tuple[str, ...] = CODECS,
) -> Description:
    """
    Answer ``offer`` here: the first audio stream that offers one of ``codecs``, the others refused.

    The codec that the offerer prefers is answered, alone, and with it telephone events if they are offered; payload
    types are the offerer's (RFC 3264 §6.1). `Negotiation.stamp` writes the final ``o=``.

    Args:
        offer: What was offered.
        address: Where we want the media, without brackets around IPv6.
        port: The UDP port there.
        rtcp_port: The port for RTCP, said only if it is not the next one.
        mux: Accept rtcp-mux if it is offered (RFC 5761 §5.1.1); RTCP then comes to ``port``.
        direction: What we would like to do.
        codecs: Encoding names at 8000 Hz, in no order.

    Raises:
        OfferAnswerError: 488, there is no such stream.
    """
    names = frozenset(f"{codec}/8000".lower() for codec in codecs)
    answer = _session(address)
    chosen = None
    for media in offer.media:
        spoken = _spoken(media, names) if chosen is None else ""
        if not spoken:
            answer.media.append(refuse(media))
            continue
        events = _events(media)
        chosen = Media("audio", port, media.proto, [spoken, events] if events else [spoken])
        chosen.lines.append(f"a=rtpmap:{spoken} {plain_encoding(media.encoding(spoken))}")
        if events:
            chosen.lines += _event_lines(events)
        chosen.lines += _closing_lines(port, rtcp_port, muxed=mux and media.rtcp_mux)
        chosen.set_direction(answer_direction(offer.direction_of(media), direction))
        answer.media.append(chosen)
    if chosen is None:
        raise OfferAnswerError(488, f"no stream of audio with {' or '.join(codecs)} is offered")
    return answer


def agree(known: Description, offer: Description, told: Description | None) -> Description:
    """
    Answer ``offer`` in the name of a peer that cannot be asked now, with what it has said of itself.

    Args:
        known: What it has offered or answered last.
        offer: What it would be offered.
        told: What it has been told in return; what it has been told to speak must stay allowed. None: nothing yet.

    Raises:
        OfferAnswerError: 488, that does not go together.
    """
    answer = Description(known.lines)
    for place, media in enumerate(offer.media):
        ours = known.media[place] if place < len(known.media) else None
        formats = [] if ours is None or not (media.port and ours.port) or ours.kind != media.kind else _common(ours, media)
        spoken = told.media[place].formats[:1] if told is not None and place < len(told.media) and told.media[place].port else []
        if not formats or ours is None:
            if spoken:
                raise OfferAnswerError(488, f"stream {place + 1} cannot go on without asking the other side")
            answer.media.append(refuse(media))
            continue
        if spoken and spoken[0] not in formats:
            raise OfferAnswerError(488, f"stream {place + 1}: {ours.encoding(spoken[0])} is in use and not offered any more")
        lines = [line for line in ours.lines if not line.startswith(("a=rtpmap:", "a=fmtp:")) or _format_of(line) in formats]
        own = Media(ours.kind, ours.port, media.proto, formats, lines)
        own.set_direction(answer_direction(offer.direction_of(media), known.direction_of(ours)))
        answer.media.append(own)
    return answer


def _common(ours: Media, theirs: Media) -> list[str]:
    """The formats that both have under the same number: the relay does not translate them. Digits and comfort noise alone are none."""
    mine = {one: plain_encoding(ours.encoding(one)) for one in ours.formats}
    both = [one for one in theirs.formats if mine.get(one) == plain_encoding(theirs.encoding(one))]
    return both if any(not mine[one].startswith(_BESIDE_A_CODEC) for one in both) else []


def _format_of(line: str) -> str:
    return line.partition(":")[2].partition(" ")[0]


def offer_audio(
    address: str,
    port: int,
    *,
    rtcp_port: int | None = None,
    mux: bool = False,
    direction: str = "sendrecv",
    codecs: tuple[str, ...] = CODECS,
) -> Description:
    """
    Offer one stream of audio that ends here, in ``codecs`` (of `CODECS`) and telephone events.

    Args:
        address: Where we want the media, without brackets around IPv6.
        port: The UDP port there.
        rtcp_port: The port for RTCP, said only if it is not the next one.
        mux: Offer rtcp-mux (RFC 5761 §5.1.1).
        direction: What we would like to do.
        codecs: Encoding names, the preferred one first.
    """
    numbers = {"PCMU": "0", "PCMA": "8"}
    media = Media("audio", port, "RTP/AVP", [*(numbers[codec] for codec in codecs), "101"])
    media.lines += [f"a=rtpmap:{numbers[codec]} {codec}/8000" for codec in codecs]
    media.lines += _event_lines("101")
    media.lines += _closing_lines(port, rtcp_port, muxed=mux)
    media.set_direction(direction)
    offer = _session(address)
    offer.media.append(media)
    return offer


def _session(address: str) -> Description:
    return Description(["v=0", f"o=pbx 0 0 IN {family(address)} {address}", "s=-", connection(address), "t=0 0"])


def plain_encoding(encoding: str) -> str:
    """``"pcmu/8000/1"`` is ``"PCMU/8000"``: names have no case, one channel is what is meant without a number (RFC 8866 §6.6)."""
    return encoding.removesuffix("/1").upper()


def _spoken(media: Media, names: frozenset[str]) -> str:
    """Give the first payload type in ``media`` that we can speak; ``""`` for none."""
    if media.kind.lower() != "audio" or not media.port or media.proto.upper() not in _PLAIN_RTP:
        return ""
    for payload_type in media.formats:
        if plain_encoding(media.encoding(payload_type)).lower() in names:
            return payload_type
    return ""


def _events(media: Media) -> str:
    for payload_type in media.formats:
        if plain_encoding(media.encoding(payload_type)).lower() == EVENTS:
            return payload_type
    return ""


def _event_lines(payload_type: str) -> list[str]:
    # 0-15 are the sixteen keys; RFC 4733 §2.4.1 has them as the default, and phones want to read it.
    return [f"a=rtpmap:{payload_type} {EVENTS}", f"a=fmtp:{payload_type} 0-15"]


def _closing_lines(port: int, rtcp_port: int | None, *, muxed: bool) -> list[str]:
    lines = ["a=ptime:20"]
    if muxed:
        lines.append("a=rtcp-mux")
    if rtcp_port is not None and rtcp_port != port + 1:
        lines.append(f"a=rtcp:{rtcp_port}")
    return lines
