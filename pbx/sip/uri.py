"""
URIs: SIP and SIPS (RFC 3261 §19.1), tel (RFC 3966), and any other by its scheme.

Values: frozen, compared by their text. Equality as the RFCs mean it is `equivalent`.
The user part stays as it was on the wire, for it is copied far more often than
read; parameters and headers are unescaped, and escaped again by ``str()``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from pbx.sip import grammar
from pbx.sip.errors import ParseError

Pairs = tuple[tuple[str, str], ...]

_USER_SAFE: Final = "-_.!~*'()&=+$,;?/"
_PARAMETER_SAFE: Final = "[]/:&+$-_.!~*'()"
_HEADER_SAFE: Final = "[]/?:+$-_.!~*'()"
_CACHED_LENGTH: Final = 120


def unescape(text: str) -> str:
    """``%HH`` decoded; octets that are no UTF-8 come out as surrogates, as everywhere else."""
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _escape(text: str, safe: str) -> str:
    # quote() lets "~" and "_.-" through in any case, which is right for all parts of a SIP URI.
    return quote(text, safe=safe, errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class SipUri:
    """A SIP or SIPS URI (RFC 3261 §19.1.1)."""

    host: str
    """Lower case; IPv6 with its brackets."""
    user: str | None = None
    """As on the wire, escaped; it may contain ``;`` (§19.1.6). None: there is no ``@``."""
    port: int | None = None
    scheme: str = "sip"
    password: str | None = None
    parameters: Pairs = ()
    """Unescaped, names in lower case, ``""`` for one without a value."""
    headers: Pairs = ()
    """Unescaped, names as they came."""

    @classmethod
    def of(cls, user: str, host: str, port: int | None = None, parameters: Pairs = (), scheme: str = "sip") -> SipUri:
        """A URI for ``user`` in plain text: ``"*90#"`` becomes ``*90%23``."""
        return cls(host, _escape(user, _USER_SAFE) if user else None, port, scheme, None, parameters)

    def parameter(self, name: str) -> str | None:
        """The value of a parameter (``name`` in lower case), ``""`` if it has none, None if it is not there."""
        for key, value in self.parameters:
            if key == name:
                return value
        return None

    def with_parameters(self, added: Pairs) -> SipUri:
        """With ``added`` at the end, save those whose names are there already."""
        known = {name for name, _ in self.parameters}
        new = tuple((name, value) for name, value in added if name.lower() not in known)
        return replace(self, parameters=self.parameters + new) if new else self

    def without(self, *names: str) -> SipUri:
        """Without the parameters of these names (in lower case)."""
        return replace(self, parameters=tuple(pair for pair in self.parameters if pair[0] not in names))

    @property
    def decoded_user(self) -> str:
        """The user part as a person reads it; ``""`` if there is none."""
        return unescape(self.user) if self.user else ""

    @property
    def address(self) -> tuple[str, int | None]:
        """Host without brackets, and port if there is one."""
        return self.host.strip("[]"), self.port

    def __str__(self) -> str:
        at = ""
        if self.user is not None:
            at = f"{self.user}@" if self.password is None else f"{self.user}:{self.password}@"
        port = "" if self.port is None else f":{self.port}"
        text = f"{self.scheme}:{at}{self.host}{port}"
        if self.parameters:
            text += _written(self.parameters)
        if self.headers:
            text += "?" + "&".join(f"{_escape(name, _HEADER_SAFE)}={_escape(value, _HEADER_SAFE)}" for name, value in self.headers)
        return text


@dataclass(frozen=True, slots=True)
class TelUri:
    """A telephone number (RFC 3966)."""

    number: str
    """As it came, with its visual separators."""
    parameters: Pairs = ()
    """Unescaped, names in lower case."""

    @property
    def digits(self) -> str:
        """The number without visual separators (RFC 3966 §5.1.1)."""
        return _without_separators(self.number)

    def parameter(self, name: str) -> str | None:
        """The value of a parameter (``name`` in lower case), ``""`` if it has none, None if it is not there."""
        for key, value in self.parameters:
            if key == name:
                return value
        return None

    def __str__(self) -> str:
        return f"tel:{self.number}{_written(self.parameters)}"


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of a scheme that is not ours to understand."""

    scheme: str
    """Lower case."""
    rest: str
    """All after the colon."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """
    Parse an addr-spec, without angle brackets.

    Raises:
        ParseError: ``text`` is outside RFC 3261 §25.1 or RFC 3966 §3.
    """
    # The same phones come back with the same URIs; long ones are not kept, so the cache is small whoever writes to us.
    return _parse_cached(text) if len(text) <= _CACHED_LENGTH else _parse(text)


def _parse(text: str) -> Uri:
    scheme = grammar.SCHEME.match(text)
    if scheme is None:
        raise ParseError("URI", "expected a scheme and a colon", text)
    name = scheme[1].lower()
    if name == "sip" or name == "sips":
        return _parse_sip(text, name, scheme.end())
    if name == "tel":
        return _parse_tel(text, scheme.end())
    rest = grammar.OPAQUE.match(text, scheme.end())
    if rest is None or rest.end() != len(text):
        raise ParseError("URI", "expected no blanks, quotes or brackets", text, rest.end() if rest else scheme.end())
    return OtherUri(name, rest[0])


# Room for the URIs of a thousand phones, of which each writes two or three; that many of the longest are two megabytes.
_parse_cached = lru_cache(maxsize=4096)(_parse)


def _parse_sip(text: str, scheme: str, start: int) -> SipUri:
    user = password = None
    # "@" must be escaped everywhere else, so the first one ends the user part, whatever else is in it.
    at = text.find("@", start)
    if at >= 0:
        matched = grammar.USER.match(text, start, at)
        if matched is None:
            raise ParseError("URI", "expected a user", text, start)
        user, end = matched[0], matched.end()
        if end < at and text[end] == ":" and grammar.PASSWORD.fullmatch(text, end + 1, at):
            password, end = text[end + 1 : at], at
        if end != at:
            raise ParseError("URI", "expected an escaped character", text, end)
        start = at + 1
    place = grammar.HOST_PORT.match(text, start)
    if place is None:
        raise ParseError("URI", "expected a host", text, start)
    port = None if place[2] is None else int(place[2])
    if port is not None and port > 65535:
        raise ParseError("URI", "expected a port below 65536", text, place.start(2))
    parameters, end = _parse_pairs(text, place.end(), grammar.URI_PARAMETER, "parameter")
    headers: Pairs = ()
    if end < len(text) and text[end] == "?":
        headers, end = _parse_headers(text, end)
    if end != len(text):
        raise ParseError("URI", "expected a port, a parameter, a header or the end", text, end)
    return SipUri(place[1].lower(), user, port, scheme, password, parameters, headers)


def _parse_tel(text: str, start: int) -> TelUri:
    number = grammar.TEL_NUMBER.match(text, start)
    if number is None or not _without_separators(number[0]).strip("+"):
        raise ParseError("URI", "expected a telephone number", text, start)
    parameters, end = _parse_pairs(text, number.end(), grammar.URI_PARAMETER, "parameter")
    if end != len(text):
        raise ParseError("URI", "expected a parameter or the end", text, end)
    return TelUri(number[0], parameters)


def _parse_pairs(text: str, start: int, pattern: re.Pattern[str], what: str) -> tuple[Pairs, int]:
    if start == len(text):
        return (), start
    pairs: dict[str, str] = {}
    while (found := pattern.match(text, start)) is not None:
        name = unescape(found[1]).lower()
        if name in pairs:
            raise ParseError("URI", f"expected each {what} once", text, start)
        pairs[name] = unescape(found[2] or "")
        start = found.end()
    return tuple(pairs.items()), start


def _parse_headers(text: str, start: int) -> tuple[Pairs, int]:
    pairs: list[tuple[str, str]] = []
    while (found := grammar.URI_HEADER.match(text, start)) is not None and (text[start] == "&") == bool(pairs):
        pairs.append((unescape(found[1]), unescape(found[2])))
        start = found.end()
    return tuple(pairs), start


def _written(parameters: Pairs) -> str:
    return "".join(
        f";{_escape(name, _PARAMETER_SAFE)}={_escape(value, _PARAMETER_SAFE)}" if value else f";{_escape(name, _PARAMETER_SAFE)}"
        for name, value in parameters
    )


_SEPARATORS: Final = str.maketrans("", "", "-.()")


def _without_separators(number: str) -> str:
    return number.translate(_SEPARATORS)


def number_of(uri: Uri) -> str:
    """
    The number or user name that ``uri`` asks for, in plain text: ``"*90#"`` for ``sip:*90%23@host``.

    A user part that is a telephone-subscriber (RFC 3261 §19.1.6) loses its parameters, as in
    ``+1-212;phone-context=x``; any other ``;`` is part of the name. Visual separators go if
    it says that it is a telephone number: a tel URI, ``user=phone``, or a leading ``+``.
    ``""``: there is none.
    """
    if isinstance(uri, TelUri):
        return uri.digits
    if isinstance(uri, OtherUri):
        return ""
    user = uri.decoded_user
    number, semicolon, _ = user.partition(";")
    if semicolon and grammar.TEL_NUMBER.fullmatch(number):
        user = number
    if (user.startswith("+") or uri.parameter("user") == "phone") and grammar.TEL_NUMBER.fullmatch(user):
        return _without_separators(user)
    return user


def subscriber_parameters(uri: Uri) -> str:
    """
    What a telephone number says besides its digits: ``";ext=12"``, ``;isub``, ``;rn``, ``;npdi`` (RFC 3966 §5, RFC 4694).

    Of a tel URI, or of a SIP URI whose user part is a telephone-subscriber (RFC 3261 §19.1.6); ``""`` for any other.
    Not the phone-context, in which the digits were dialled.
    """
    if isinstance(uri, SipUri) and uri.user is not None and ";" in uri.user:
        number, _, rest = uri.decoded_user.partition(";")
        try:
            uri = _parse_tel(f"tel:{number};{rest}", 4)
        except ParseError:
            return ""
    if not isinstance(uri, TelUri):
        return ""
    return _written(tuple(pair for pair in uri.parameters if pair[0] != "phone-context"))


def with_subscriber_parameters(uri: Uri, parameters: str) -> Uri:
    """``uri`` with what `subscriber_parameters` has found of another."""
    if isinstance(uri, TelUri):
        added = _parse_pairs(parameters, 0, grammar.URI_PARAMETER, "parameter")[0]
        return replace(uri, parameters=uri.parameters + added)
    return replace(uri, user=f"{uri.user}{parameters}") if isinstance(uri, SipUri) and uri.user else uri


# RFC 3261 §19.1.4: these must be in both or in neither; any other only has to agree where both have it.
_TELLING: Final = ("transport", "user", "ttl", "method", "maddr")
_ESCAPED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_RESERVED: Final = frozenset(";/?:@&=+$,%")


def _plain(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return found[0].upper() if character in _RESERVED or not "\x20" < character < "\x7f" else character


def _normal(text: str | None) -> str | None:
    # An escaped character equals the plain one, unless it is reserved (§19.1.4).
    return text if text is None or "%" not in text else _ESCAPED.sub(_plain, text)


def equivalent(a: Uri, b: Uri) -> bool:
    """
    Whether two URIs mean the same (RFC 3261 §19.1.4, RFC 3966 §4).

    Not transitive, as the RFC remarks: a parameter that only one of them has is no difference.
    """
    if isinstance(a, SipUri) and isinstance(b, SipUri):
        return (
            a.scheme == b.scheme
            and a.host.lower() == b.host.lower()
            and a.port == b.port
            and _normal(a.user) == _normal(b.user)
            and _normal(a.password) == _normal(b.password)
            and _agree(dict(a.parameters), dict(b.parameters))
            and sorted((name.lower(), value) for name, value in a.headers) == sorted((name.lower(), value) for name, value in b.headers)
        )
    if isinstance(a, TelUri) and isinstance(b, TelUri):
        return a.digits.lower() == b.digits.lower() and {(name, value.lower()) for name, value in a.parameters} == {
            (name, value.lower()) for name, value in b.parameters
        }
    return a == b


def _agree(a: dict[str, str], b: dict[str, str]) -> bool:
    if any((name in a) != (name in b) for name in _TELLING):
        return False
    return all(value.lower() == b[name].lower() for name, value in a.items() if name in b)
