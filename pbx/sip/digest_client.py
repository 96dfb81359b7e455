"""
The client side of digest (RFC 3261 §22.2, RFC 7616): one account, and the challenges that it has met.

Whoever sends requests asks `can_answer` about a 401 or 407, and puts `lines` into the request that is sent again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pbx.sip import build
from pbx.sip.digest import answer, next_nonce, parse_challenges, strongest

if TYPE_CHECKING:
    from pbx.sip.digest import Challenge
    from pbx.sip.ids import Ids
    from pbx.sip.message import Response

ROUNDS: Final = 2
"""Challenges answered for one request: a proxy's and the server's, or one that went stale."""


class DigestClient:
    """What we know of the challenges to one account; they are kept for the requests that follow (RFC 3261 §22.2)."""

    __slots__ = ("_answered", "_challenges", "_ids", "_password", "_rounds", "_user")

    def __init__(self, user: str, password: str, ids: Ids) -> None:
        self._user = user
        self._password = password
        self._ids = ids
        self._rounds = 0
        self._answered: set[str] = set()
        # Header field to the challenge that is answered in it, with our cnonce and how often its nonce has been used.
        self._challenges: dict[str, tuple[Challenge, str, int]] = {}

    def begin(self) -> None:
        """Another request, not one that is sent again."""
        self._rounds = 0
        self._answered.clear()

    def can_answer(self, response: Response) -> bool:
        """
        Take in a 401 or 407. True: send the request again, with `lines`.

        False when it cannot be understood, when what we have just answered was rejected (§22.1: the password is wrong),
        and after `ROUNDS`: a server may challenge for ever.
        """
        challenge = challenge_of(response)
        name = "Proxy-Authorization" if response.status == 407 else "Authorization"
        rejected = name in self._answered and not (challenge is not None and challenge.stale)
        if challenge is None or rejected or self._rounds >= ROUNDS:
            self._challenges.pop(name, None)
            return False
        self._rounds += 1
        self._answered.add(name)
        self._keep(name, challenge)
        return True

    def lines(self, method: str, uri: str, body: bytes = b"") -> str:
        """
        The Authorization and Proxy-Authorization lines of a request; "" before the first challenge.

        Args:
            method: Of the request.
            uri: Its Request-URI: what stands in ``uri=`` must be the same (RFC 7616 §3.4).
            body: Of the request.
        """
        text = ""
        for name, (challenge, cnonce, uses) in self._challenges.items():
            self._challenges[name] = challenge, cnonce, uses + 1
            value = answer(challenge, method, uri, self._user, self._password, cnonce, uses + 1, body)
            text += build.lines((name, value))
        return text

    def learn(self, response: Response) -> None:
        """Take the nonce for the next request from a 2xx, if it names one (RFC 7616 §3.5)."""
        for name, info in (("Authorization", "authentication-info"), ("Proxy-Authorization", "proxy-authentication-info")):
            value = response.first(info)
            nonce = next_nonce(value) if value is not None and name in self._challenges else ""
            if nonce:
                self._keep(name, replace(self._challenges[name][0], nonce=nonce))

    def _keep(self, name: str, challenge: Challenge) -> None:
        self._challenges[name] = challenge, self._ids.tag(), 0


def challenge_of(response: Response) -> Challenge | None:
    """The challenge of a 401 or 407 that we would answer; None: there is none that can be."""
    values = response.headers.get("proxy-authenticate" if response.status == 407 else "www-authenticate", [])
    challenge = strongest(parse_challenges(values))
    if challenge is None:
        return None
    try:
        answer(challenge, "", "", "", "", "", 1)
    except ValueError:  # something in it would break the header line of our answer
        return None
    return challenge
