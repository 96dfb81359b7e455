"""A request as the identifiers see it: who claims to be calling, from where, and what they can prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip.digest import Proof
from pbx.sip.errors import ParseError
from pbx.sip.uri import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.sip.digest import Challenger, Credentials, Ha1s
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request


class Arrival:
    """
    A request outside any dialog, before it is known whose it is.

    Attributes:
        request: The request itself.
        flow: The way it came.
        source: The address it came from.
        username: The user name of its digest credentials; "" if it has none.
        claimed: The user that From names; worth nothing until proved.
        proof: What the last `proves` found; None if nothing was asked.
    """

    __slots__ = ("_challenger", "_credentials", "_now", "flow", "proof", "request", "source", "username")

    def __init__(self, request: Request, flow: Flow, challenger: Challenger, now: float, *, proofs: bool = True) -> None:
        """``proofs``: whether its credentials may be looked at."""
        self.request = request
        self.flow = flow
        self.source = flow.remote[0]
        self.proof: Proof | None = None
        self._challenger = challenger
        self._now = now
        headers = request.headers
        self._credentials: Credentials | None = None
        if proofs and ("authorization" in headers or "proxy-authorization" in headers):
            self._credentials = challenger.find([*headers.get("authorization", ()), *headers.get("proxy-authorization", ())])
        self.username = self._credentials.username if self._credentials is not None else ""

    @property
    def claimed(self) -> str:
        try:
            return number_of(self.request.from_.uri)
        except ParseError:
            return ""

    @property
    def algorithm(self) -> str:
        """The digest algorithm of its credentials, such as ``"SHA-256"``; "" if it has none."""
        return self._credentials.algorithm if self._credentials is not None else ""

    def proves(self, secret: Ha1s | None, algorithms: Sequence[str] | None = None) -> bool:
        """
        Say whether the credentials prove ``secret`` (RFC 7616 §3.4.1), by one of ``algorithms`` if they are named.

        With None (no such user) the same work is done and the answer is no, so that time tells nothing.
        """
        if self._credentials is None:
            return False
        self.proof = self._challenger.check(
            self._credentials, self.request.method, self.request.target, secret, self.source, self._now, algorithms
        )
        return self.proof is Proof.PROVEN
