"""
Session descriptions: RFC 8866, as far as an exchange that relays them needs it.

A description is kept as its lines, cut at the ``m=`` lines, and nothing is made of a line
until somebody asks. So what we do not understand passes through as it came, and a typical
offer costs a few microseconds.

Tolerant where phones are sloppy and nothing depends on it: LF for CRLF, blank lines, missing
``o=``, ``s=`` and ``t=``, lines in another order. Never tolerant of an ``m=`` or a ``c=`` that
cannot be read, nor of a type letter that RFC 8866 does not know (§5: "MUST completely ignore").
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pbx.sdp.media import CONNECTION_VALUE, DIRECTIONS, STATIC_ENCODINGS, UNSPECIFIED, Media, address_in, attribute_in, direction_in
from pbx.sip.errors import ParseError

__all__ = [
    "DIRECTIONS",
    "STATIC_ENCODINGS",
    "Description",
    "Media",
    "connection",
    "family",
    "parse_description",
    "remove_bundle",
    "strip_ice",
    "with_address",
]

# Session level: %s"v" "=" 1*DIGIT CRLF, then any of o s i u e p c b t r z k a (RFC 8866 §9).
_NOT_SESSION = re.compile(r"\n(?![osiuepcbtrzka]=)")
# Media level: information-field *connection-field bandwidth-fields key-field attribute-fields (RFC 8866 §9).
_NOT_MEDIA = re.compile(r"\n(?![icbka]=)")
_BLANK_LINES = re.compile(r"\n[ \t]*(?=\n|\Z)")

# media-field = %s"m" "=" media SP port ["/" integer] SP proto 1*(SP fmt) CRLF. Devices write two blanks, or one at
# the end; fmt is a token in RFC 8866, here whatever is visible.
_MEDIA = re.compile(
    r"([!#-'*+\-.0-9A-Z^-~]+)"  # media = token
    r" +([0-9]{1,5})(?:/([0-9]{1,5}))?"
    r" +([!#-'*+\-./0-9A-Z^-~]+)"  # proto = token *("/" token)
    r" +([!-~][ -~]*)"
)
_NOT_CONNECTION = re.compile(rf"\nc=(?!{CONNECTION_VALUE}(?:\n|\Z))")


class Description:
    """A session description; ``str`` of it is the text to send, CRLF at each end of line."""

    __slots__ = ("lines", "media")

    def __init__(self, lines: list[str], media: list[Media] | None = None) -> None:
        self.lines = lines
        """The session-level lines as they came: ``"v=0"``, ``"o=..."``, ..."""
        self.media: list[Media] = [] if media is None else media
        """The ``m=`` sections in order; the order is what offer and answer go by (RFC 3264 §6)."""

    @property
    def origin(self) -> str:
        """The value of ``o=``, ``"alice 2890844526 2890844526 IN IP4 host.example"``; ``""`` if there is none."""
        return self.value("o")

    @property
    def address(self) -> str:
        """The address in the session's ``c=``, ``""`` if it has none."""
        return address_in(self.lines)

    def value(self, letter: str) -> str:
        """Give the value of the first session-level line of that type; ``""`` if there is none."""
        start = f"{letter}="
        for line in self.lines:
            if line.startswith(start):
                return line[2:]
        return ""

    def address_of(self, media: Media) -> str:
        """Give the address that counts for ``media``: its own ``c=``, else the session's, else ``""`` (RFC 8866 §5.7)."""
        return address_in(media.lines) or address_in(self.lines)

    def attribute(self, name: str) -> str | None:
        """Give the value of the first session-level ``a=name``: ``""`` for one without a value, None if there is none."""
        return attribute_in(self.lines, name)

    def direction_of(self, media: Media) -> str:
        """Give the direction that counts for ``media``, sendrecv if nothing is said (RFC 8866 §6.7)."""
        return direction_in(media.lines) or direction_in(self.lines) or "sendrecv"

    def is_held(self, media: Media) -> bool:
        """The sender of this does not want to get ``media`` for now: sendonly, inactive, or the address 0.0.0.0 (RFC 3264 §8.4)."""
        return self.direction_of(media) in ("sendonly", "inactive") or self.address_of(media) in UNSPECIFIED

    def copy(self) -> Description:
        """Give one that can be changed, sections and all, without changing this one."""
        return Description(self.lines[:], [media.copy() for media in self.media])

    def __str__(self) -> str:
        lines = self.lines[:]
        for media in self.media:
            lines.append(media.line)
            lines += media.lines
        lines.append("")
        return "\r\n".join(lines)

    def __repr__(self) -> str:
        return f"<Description {self.origin!r} {self.media!r}>"


def parse_description(text: str) -> Description:
    """
    Read a session description.

    Raises:
        ParseError: ``text`` does not begin with ``v=0``, has a line that RFC 8866 §9 does not know at that place, an
            ``m=`` or ``c=`` that cannot be read, a NUL or a lone CR.
    """
    text = text.replace("\r\n", "\n").strip("\n")
    try:
        return _read(text)
    except ParseError:
        # Blank lines are looked for only now: those who send none need not pay for those who do.
        tidy = _BLANK_LINES.sub("", text)
        if tidy == text:
            raise
        return _read(tidy)


def strip_ice(description: Description) -> Description:
    """Give a copy without the lines of ICE (RFC 8839 §5): who relays the media is the only candidate."""
    return _filtered(description, _ice_free, _ice_free)


def remove_bundle(description: Description) -> Description:
    """
    Give a copy that groups no streams on one port (RFC 9143).

    A stream offered as bundle-only keeps its port 0 (§6): to one who does not bundle it is refused. Other groups stay,
    and ``a=mid`` with them.
    """
    return _filtered(description, _group_free, _bundle_only_free)


def with_address(description: Description, address: str) -> Description:
    """Give a copy with ``address`` in each ``c=``; a stream held by 0.0.0.0 (RFC 3264 §8.4) stays held so."""
    changed = Description(_with_connection(description.lines, connection(address)))
    everywhere = address_in(description.lines)
    for media in description.media:
        twin = media.copy()
        own = address_in(twin.lines)
        if own:
            twin.lines = [line for line in twin.lines if not line.startswith("c=")]
        if (own or everywhere) in UNSPECIFIED:
            twin.lines = _with_connection(twin.lines, "c=IN IP4 0.0.0.0")
        changed.media.append(twin)
    return changed


def connection(address: str) -> str:
    """Give the ``c=`` line for an address or a name, without brackets around IPv6."""
    return f"c=IN {family(address)} {address}"


def family(address: str) -> str:
    """Give ``"IP6"`` for an IPv6 address, ``"IP4"`` for all else (RFC 8866 §5.2 leaves names to us)."""
    return "IP6" if ":" in address else "IP4"


def _read(text: str) -> Description:
    if "\r" in text or "\0" in text:
        raise ParseError("SDP", "expected neither NUL nor a CR without LF", text, at=_first_of(text, "\r\0"))
    head, *sections = text.split("\nm=")
    lines = head.split("\n")
    if lines[0].rstrip() != "v=0":
        raise ParseError("SDP", "expected v=0 first", lines[0])
    if (wrong := _NOT_SESSION.search(head)) is not None:
        raise _wrong_line(head, wrong, "expected a session-level line such as a=")
    if (wrong := _NOT_CONNECTION.search(text)) is not None:
        raise _wrong_line(text, wrong, "expected IN IP4 or IN IP6 and an address")
    return Description(lines, [_read_media(section) for section in sections])


def _read_media(section: str) -> Media:
    line, *lines = section.split("\n")
    match = _MEDIA.fullmatch(line)
    if match is None:
        raise ParseError("SDP", "expected <media> <port> <proto> <formats> after m=", f"m={line}", at=2)
    kind, port, count, proto, formats = match.groups()
    if int(port) > 65535:
        raise ParseError("SDP", "expected a port up to 65535", f"m={line}", at=2 + match.start(2))
    if (wrong := _NOT_MEDIA.search(section)) is not None:
        raise _wrong_line(section, wrong, "expected a media-level line: i=, c=, b=, k= or a=")
    return Media(kind, int(port), proto, formats.split(), lines, 1 if count is None else int(count))


def _wrong_line(text: str, wrong: re.Match[str], wanted: str) -> ParseError:
    return ParseError("SDP", wanted, text[wrong.start() + 1 :].split("\n", 1)[0])


def _first_of(text: str, characters: str) -> int:
    return min(at for at in map(text.find, characters) if at >= 0)


# RFC 8839 §5: candidate, remote-candidates, ice-lite, ice-mismatch, ice-ufrag, ice-pwd, ice-pacing, ice-options;
# RFC 8840 §8.2: end-of-candidates.
_ICE = ("a=candidate:", "a=ice-", "a=remote-candidates:", "a=end-of-candidates")


def _ice_free(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(_ICE)]


def _group_free(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("a=group:BUNDLE")]


def _bundle_only_free(lines: list[str]) -> list[str]:
    return [line for line in lines if line != "a=bundle-only"]


_Filter = Callable[[list[str]], list[str]]


def _filtered(description: Description, session: _Filter, section: _Filter) -> Description:
    media = [Media(m.kind, m.port, m.proto, m.formats[:], section(m.lines), m.count) for m in description.media]
    return Description(session(description.lines), media)


def _with_connection(lines: list[str], new: str) -> list[str]:
    """Put ``new`` in the place of ``c=``, or where RFC 8866 §9 wants one: after v, o, s, i, u, e, p."""
    kept = [line for line in lines if not line.startswith("c=")]
    place = 0
    for line in kept:
        if line[0] not in "vosiuep":
            break
        place += 1
    kept.insert(place, new)
    return kept
