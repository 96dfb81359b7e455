"""
A leg gets another partner: what it would offer, and whether what it has been told is still true.

For calls whose two sides have not negotiated with each other: after a diversion, a transfer, a callback.
"""

from __future__ import annotations

from pbx.sdp.answering import plain_encoding
from pbx.sdp.description import Description, Media
from pbx.sdp.media import UNSPECIFIED

_KEYS = ("a=crypto:", "a=fingerprint:", "a=setup:", "a=key-mgmt:")
"""What makes a stream readable: two partners never have the same."""

_WISHES = {
    ("sendonly", "recvonly"): "sendrecv",
    ("sendonly", "inactive"): "sendonly",
    ("recvonly", "sendonly"): "sendrecv",
    ("inactive", "inactive"): "sendrecv",
    ("inactive", "recvonly"): "sendrecv",  # to the hold of RFC 2543
}
"""By the direction that was offered and the one that was answered: what who answered would offer by itself."""


def proposal(remote: Description, offered: Description | None) -> Description:
    """
    What a peer would offer now, by what it has said last.

    Args:
        remote: Its last description.
        offered: Our offer, where that was the answer to one: its hold must not pass for the peer's own wish. None: it was an offer.
    """
    wish = remote.copy()
    for place, media in enumerate(wish.media):
        if not media.port:
            continue
        direction = remote.direction_of(media)
        if offered is None:
            # Who only wants to listen has been put on hold, and repeats that to refresh the session.
            wanted: str | None = "sendrecv" if direction == "recvonly" else None
        else:
            ours = offered.media[place]  # an answer has the same places (RFC 3264 §6)
            asked = "inactive" if offered.address_of(ours) in UNSPECIFIED else offered.direction_of(ours)
            wanted = _WISHES.get((asked, direction))
        if wanted is not None:
            media.set_direction(wanted)
    return wish


def suits(told: Description | None, own: Description | None, wanted: Description) -> bool:
    """
    Whether a leg that has been told ``told`` need not be told ``wanted``, which is what is true now.

    Args:
        told: Our last description to it.
        own: Its own last one.
        wanted: What an offer to it would say.
    """
    if told is None or own is None or len(told.media) > len(wanted.media):
        return False
    if any(media.port for media in wanted.media[len(told.media) :]):
        return False
    theirs = [*own.media, *[None] * len(told.media)]
    pairs = zip(told.media, wanted.media, strict=False)
    return all(_stream_suits(told, before, wanted, after, theirs[place]) for place, (before, after) in enumerate(pairs))


def _stream_suits(told: Description, before: Media, wanted: Description, after: Media, own: Media | None) -> bool:
    if own is None or not own.port:
        return True  # who has refused a stream, or has none, need not be asked again because the new partner would take it
    if not before.port or not after.port:
        return before.port == after.port
    return (
        (before.port, before.proto, told.address_of(before)) == (after.port, after.proto, wanted.address_of(after))
        and told.direction_of(before) == wanted.direction_of(after)
        and _keys(before) == _keys(after)
        and all(
            one in after.formats and plain_encoding(before.encoding(one)) == plain_encoding(after.encoding(one))
            for one in before.formats
            if one in own.formats
        )
    )


def _keys(media: Media) -> list[str]:
    return [line for line in media.lines if line.startswith(_KEYS)]
