"""
Ladders: the messages of a call as arrows between its parties, with the time of each.

Pure: messages in, lines out. A column each for the caller, the exchange and everybody who was rung.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pbx.log import escaped
from pbx.net.address import shown_address
from pbx.operations.answers import padded, width
from pbx.shell.seen import title

if TYPE_CHECKING:
    from pbx.trace import Seen

HERE = "exchange"
_NARROWEST = 20


class Arrow(NamedTuple):
    """One message."""

    seconds: float
    """Since the first one."""
    party: int
    """The column of the far end: a number of `Ladder.parties`."""
    sent: bool
    text: str


class Ladder(NamedTuple):
    """What is drawn."""

    parties: list[tuple[str, str]]
    """Who, and at which address; the caller first."""
    arrows: list[Arrow]

    def draw(self) -> str:
        """As text."""
        heads = [self.parties[0], (HERE, ""), *self.parties[1:]] if self.parties else [(HERE, "")]
        columns = [0, *range(2, len(self.parties) + 1)]  # the column of each party; the exchange has the second
        gap = max(
            _NARROWEST,
            *(width(arrow.text) + 6 for arrow in self.arrows),
            *(width(part) + 2 for head in heads for part in head),
        )
        lines = ["".join(padded(head[part], gap) for head in heads).rstrip() for part in (0, 1)]
        margin = " " * 11
        drawn = [margin + line for line in lines if line]
        drawn += [f"{arrow.seconds:9.3f}  " + _row(arrow, columns[arrow.party], len(heads), gap) for arrow in self.arrows]
        return "\n".join(line.rstrip() for line in drawn)


def ladder_of(seen: Sequence[Seen], legs: Sequence[tuple[str, str]]) -> Ladder:
    """
    Put a ladder together.

    Args:
        seen: The messages, oldest first.
        legs: Each leg's peer in words and its Call-ID, the caller's first.
    """
    places = {call_id: place for place, (_, call_id) in enumerate(legs)}
    addresses = [""] * len(legs)
    arrows: list[Arrow] = []
    known: set[tuple[bool, bytes]] = set()
    began: float | None = None
    for one in seen:
        message = one.parsed()
        if message is None or message.call_id not in places:
            continue
        began = one.at if began is None else began
        place = places[message.call_id]
        addresses[place] = shown_address(one.flow.remote)
        text = escaped(title(message)) + (" (SDP)" if message.sdp is not None else "")
        if (one.sent, one.data) in known:
            text += " again"
        known.add((one.sent, one.data))
        arrows.append(Arrow(one.at - began, place, one.sent, text))
    return Ladder([(escaped(peer), address) for (peer, _), address in zip(legs, addresses, strict=True)], arrows)


def _row(arrow: Arrow, column: int, count: int, gap: int) -> str:
    """One arrow between the exchange's column and ``column``, with the other columns as bars."""
    left, right = sorted((column, 1))
    to_the_right = arrow.sent == (column > 1)
    room = (right - left) * gap - 1
    label = f" {arrow.text} "
    dashes = room - 1 - width(label)
    before = dashes // 2
    shaft = "-" * before + label + "-" * (dashes - before)
    body = shaft + ">" if to_the_right else "<" + shaft
    after = "".join("|" + " " * (gap - 1) for _ in range(right, count))
    return "".join("|" + " " * (gap - 1) for _ in range(left)) + "|" + body + after
