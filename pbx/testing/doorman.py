"""A carrier's doorman: challenges the requests that come to a test's phone, and checks what is answered (RFC 3261 §22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip.digest import Challenger, Proof, ha1s

if TYPE_CHECKING:
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request

REALM = "ims.example"


class Doorman:
    """
    Lets in who proves a password.

    Attributes:
        passwords: By user name.
        within: Challenge requests within dialogs as well.
        stale_for_ever: Say of every proof that its nonce was too old.
        challenge_with: This header value instead of a challenge that makes sense; "": do not.
    """

    def __init__(self, passwords: dict[str, str], algorithms: tuple[str, ...] = ("MD5",)) -> None:
        self.passwords = passwords
        self.within = False
        self.stale_for_ever = False
        self.challenge_with = ""
        self._challenger = Challenger(b"doorman's key".ljust(32), REALM, algorithms)

    def challenges(self, request: Request, flow: Flow, now: float) -> str:
        """The lines of a 401; "": it may come in."""
        if request.method in ("ACK", "CANCEL") or (request.to_tag and not self.within):
            return ""
        stale = False
        credentials = self._challenger.find(request.headers.get("authorization", []))
        if credentials is not None:
            password = self.passwords.get(credentials.username)
            secret = None if password is None else ha1s(credentials.username, REALM, password)
            proof = self._challenger.check(credentials, request.method, request.target, secret, flow.remote[0], now)
            if proof is Proof.PROVEN and not self.stale_for_ever:
                return ""
            stale = proof is Proof.STALE or self.stale_for_ever
        if self.challenge_with:
            return f"WWW-Authenticate: {self.challenge_with}\r\n"
        return self._challenger.challenge(flow.remote[0], now, stale=stale)
