"""
The transaction layer: RFC 3261 §17 and what of §9, §18 belongs to it.

Bytes go in, effects come out; every message ends as answered, dropped (and counted) or
taken, and none raises. Repeated requests are answered, and stray responses dropped,
before anything is parsed. New requests are handed up without any state being made for
them: that is for `Transactions.serve`, once somebody is found to be entitled to it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from pbx.sip import build
from pbx.sip.client_transaction import CANCEL_SUFFIX, ClientTransaction, InviteClientTransaction, NonInviteClientTransaction
from pbx.sip.effects import Arm, Arrived, Cancelled, Effect, Send
from pbx.sip.errors import ParseError
from pbx.sip.gate import DEFAULT_CAPS, Caps, check_request, check_response
from pbx.sip.message import Request, Response, parse_message
from pbx.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction, ServerKey, ServerTransaction, State
from pbx.sip.timing import DEFAULT_TIMING, Timing
from pbx.sip.transaction_key import transaction_key

if TYPE_CHECKING:
    from pbx.sip.build import Outgoing
    from pbx.sip.flow import Flow
    from pbx.sip.ids import Ids

_COOKIE: Final = b"z9hG4bK"
_DROPS: Final = ("not SIP", "refused ACK", "stray ACK", "bad request", "bad response", "stray response", "too short")
_LONG: Final = 300
"""Octets from which on a request is worth an answer of twice its length, not of three times."""
_RETRY_AFTER: Final = "Retry-After: 5\r\n"


class Transactions:
    """
    All transactions of one process.

    Args:
        ids: Where tags come from.
        timing: Timer values.
        max_servers: How many server transactions there may be; a new request beyond that gets 503 without one. A fifth of
            them is for calls alone: thousands of telephones that register after a power cut shall not be in their way.
        caps: How much a peer may send.

    It is a machine too (`pbx.sip.effects.Machine`): it wakes to send the 100 of RFC 4320 to what nobody has answered.
    """

    standing: Final = True
    """Its timer belongs to no call."""

    def __init__(
        self,
        ids: Ids,
        timing: Timing = DEFAULT_TIMING,
        *,
        max_servers: int = 50_000,
        caps: Caps = DEFAULT_CAPS,
    ) -> None:
        self.ids = ids
        self.timing = timing
        self.max_servers = max_servers
        self._max_without_calls = max_servers - max_servers // 5
        self.caps = caps
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.clients: dict[bytes, ClientTransaction] = {}
        """By branch; a CANCEL, which shares that of its INVITE, has ``b" CANCEL"`` after it."""
        self.dropped: dict[str, int] = dict.fromkeys(_DROPS, 0)
        """How many messages were dropped without an answer, by reason."""
        self.refused: dict[int, int] = {}
        """How many requests were answered here with a refusal, by status."""
        self.deadline: float | None = None
        self.armed: float | None = None
        # No tag of `Ids` has a hyphen after the instance: an ACK to a stateless answer is known by it.
        self._stateless_tag = f"{ids.instance}-"
        self._unanswered: deque[ServerTransaction] = deque()
        self._latest: Request | None = None
        self._latest_key: ServerKey = (b"", b"", b"", "")

    # What comes from the network

    def receive(self, data: bytes, flow: Flow, now: float) -> list[Effect]:
        """Take one message that came over ``flow`` at ``now``, whatever it is. Never raises."""
        found = transaction_key(data)
        key = effects = None
        if found is not None:
            if data.startswith(b"SIP/2.0 "):
                effects = self._heard(data, found[0], now)
            elif found[0].startswith(_COOKIE):
                method = data[: data.find(b" ", 0, 64)]
                key = (*found, b"INVITE" if method == b"ACK" else method, flow.key)
                known = self.servers.get(key)
                if known is not None:
                    effects = known.repeated(method == b"ACK", now)
            if effects is not None:
                return effects
        try:
            message = parse_message(data)
        except ParseError:
            return self._drop("not SIP")
        if isinstance(message, Response):
            return self._match(message, found, now)
        return self._receive_request(message, key, flow, now)

    def _receive_request(self, request: Request, key: ServerKey | None, flow: Flow, now: float) -> list[Effect]:
        method = request.method
        fault = check_request(request, self.caps)
        if fault is not None:
            if not fault.answerable:
                return self._drop("refused ACK" if method == "ACK" else "bad request")
            request.stamp(*flow.remote)
            return self._refuse(request, flow, fault.status, fault.reason, fault.headers)
        if key is None:
            key = _key_of(request, flow)
            known = self.servers.get(key)
            # RFC 2543 tells requests apart by the To tag as well; that of the ACK is ours, and one that is answered has been let go.
            if known is not None and (method == "ACK" or known.final or known.request.to_tag == request.to_tag):
                effects = known.repeated(method == "ACK", now)
                if effects is not None:
                    return effects
        request.stamp(*flow.remote)
        if method == "ACK":
            return self._drop("stray ACK") if request.to_tag.startswith(self._stateless_tag) else [Arrived(request, flow)]
        if method == "CANCEL":
            return self._cancel(request, key, flow, now)
        is_of_a_call = method == "INVITE" or request.to_tag != ""
        if len(self.servers) >= (self.max_servers if is_of_a_call else self._max_without_calls):
            return self._refuse(request, flow, 503, "", _RETRY_AFTER)
        self._latest = request
        self._latest_key = key
        if method == "INVITE" or self.deadline is not None:
            return [Arrived(request, flow)]
        self.deadline = now + self.timing.late
        return [Arrived(request, flow), Arm(self)]

    def _cancel(self, request: Request, key: ServerKey, flow: Flow, now: float) -> list[Effect]:
        """Answer a CANCEL, and tell the user of the INVITE unless it was too late (RFC 3261 §9.2)."""
        invite = self.servers.get((key[0], key[1], b"INVITE", key[3]))
        if invite is None:
            return self._refuse(request, flow, 481, "", "")
        request.back = invite.back
        cancel = NonInviteServerTransaction(request, flow, None, self.timing, self.servers, key, now)
        data = build.response(request, 200, to_tag=invite.to_tag or self._tag_for(request))
        effects = cancel.respond(200, data, now)
        if not invite.final:
            effects.append(Cancelled(invite, request))
        return effects

    def _heard(self, data: bytes, branch: bytes, now: float) -> list[Effect] | None:
        """Drop a stray response, or one that has been heard; None: it must be parsed."""
        known = self.clients.get(branch)
        if known is None:
            return None if branch + CANCEL_SUFFIX in self.clients else self._drop("stray response")
        if known.answered and data[8:11].isdigit():
            return known.repeated(int(data[8:11]), now)
        return None

    def _match(self, response: Response, found: tuple[bytes, bytes] | None, now: float) -> list[Effect]:
        """Find whose response it is: RFC 3261 §17.1.3, §18.1.2 and §8.1.3.3."""
        # The To goes into our ACK, and a quoted NUL in it, which the grammar lets pass, into nothing of ours.
        if not check_response(response, self.caps) or "\0" in response.headers["to"][0]:
            return self._drop("bad response")
        method = response.cseq.method
        branch, sent_by = response.key if found is None else found
        transaction = self.clients.get(branch + CANCEL_SUFFIX if method == "CANCEL" else branch)
        if transaction is None or transaction.method != method:
            return self._drop("stray response")
        vias = response.headers["via"]
        ours = transaction.request.via
        theirs = f" {sent_by.decode('utf-8', 'surrogateescape')};"
        if (theirs not in ours and theirs not in ours.lower()) or len(vias) > 1 or "," in vias[0]:
            return self._drop("stray response")
        return transaction.receive(response, now)

    # What the users of the layer ask for

    def serve(self, request: Request, flow: Flow, user: Any, now: float) -> ServerTransaction:
        """
        Make a server transaction for a request that has `Arrived`.

        Args:
            request: The request; not an ACK and not a CANCEL.
            flow: The flow it came on.
            user: Who is told of a CANCEL and of the end; None: nobody.
            now: Seconds on the driver's clock.
        """
        key = self._latest_key if request is self._latest else _key_of(request, flow)
        self._latest = None
        if request.method == "INVITE":
            return InviteServerTransaction(request, flow, user, self.timing, self.servers, key, now)
        transaction = NonInviteServerTransaction(request, flow, user, self.timing, self.servers, key, now)
        self._unanswered.append(transaction)
        return transaction

    def respond_stateless(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str = "",
        *,
        extra: str = "",
        body: bytes = b"",
        content_type: str = "",
    ) -> list[Effect]:
        """
        Answer a request and keep nothing of it (RFC 3261 §8.2.7): the same request gets the same answer and To tag.

        The source address of a datagram may be forged. A request so short that its answer would be a multiple of it is no
        telephone's, but somebody's who wants us to flood a third party: it is dropped.

        Args:
            request: The request; an ACK gets no answer.
            flow: The flow it came on.
            status: The status code.
            reason: The reason phrase; ``""`` for the usual one.
            extra: Further header lines, made by `pbx.sip.build.lines`.
            body: The body.
            content_type: Its type.
        """
        if request.method == "ACK":
            return []
        tag = self._tag_for(request)
        data = build.response(request, status, reason, to_tag=tag, extra=extra, body=body, content_type=content_type)
        if not flow.reliable and len(data) > request.size * (2 if request.size >= _LONG else 3):
            return self._drop("too short")
        return [Send(request.back or flow, data)]

    def request(self, outgoing: Outgoing, flow: Flow, user: Any, now: float) -> tuple[ClientTransaction, list[Effect]]:
        """
        Send a request and wait for its responses.

        Args:
            outgoing: The request, with a branch of its own. Not an ACK to a 2xx, which no transaction sends (§17.1).
            flow: Where it goes.
            user: Who is told of responses and of the end; None: nobody.
            now: Seconds on the driver's clock.
        """
        transaction: ClientTransaction
        if outgoing.method == "INVITE":
            transaction = InviteClientTransaction(outgoing, flow, user, self.timing, self.clients)
        else:
            transaction = NonInviteClientTransaction(outgoing, flow, user, self.timing, self.clients)
        return transaction, transaction.start(now)

    # What goes wrong below, and time

    def transport_failed(self, transaction: ClientTransaction | ServerTransaction, now: float) -> list[Effect]:
        """A message of this transaction could not be sent (RFC 3261 §17.1.4, §17.2.4)."""
        return transaction.transport_failed(now)

    def flow_lost(self, flow: Flow, now: float) -> list[Effect]:
        """A connection is gone: what waits for responses over it has failed, and so has the INVITE that it brought and that has none."""
        effects: list[Effect] = []
        for server in [server for key, server in self.servers.items() if key[3] == flow.key]:
            if isinstance(server, InviteServerTransaction):
                effects += server.connection_lost(now)
        for transaction in [client for client in self.clients.values() if client.flow.key == flow.key]:
            effects += transaction.transport_failed(now)
        return effects

    def wake(self, now: float) -> list[Effect]:
        """Send 100 to requests other than INVITE that have waited for too long (RFC 4320 §4.1)."""
        effects: list[Effect] = []
        unanswered = self._unanswered
        late = self.timing.late
        while unanswered and unanswered[0].began_at + late <= now:
            transaction = unanswered.popleft()
            if transaction.state is State.TRYING:
                effects += transaction.respond(100, build.response(transaction.request, 100), now)
        self.deadline = unanswered[0].began_at + late if unanswered else None
        return effects

    def sizes(self) -> dict[str, int]:
        """How many transactions there are: of calls, all gone 64*T1 after the last one, and of everything else."""
        standing = sum(table.standing for table in (*self.servers.values(), *self.clients.values()))
        return {"call_transactions": len(self.servers) + len(self.clients) - standing, "standing_transactions": standing}

    def _drop(self, why: str) -> list[Effect]:
        self.dropped[why] += 1
        return []

    def _refuse(self, request: Request, flow: Flow, status: int, reason: str, extra: str) -> list[Effect]:
        self.refused[status] = self.refused.get(status, 0) + 1
        return self.respond_stateless(request, flow, status, reason, extra=extra)

    def _tag_for(self, request: Request) -> str:
        """A To tag that a repetition of the request gets too (RFC 3261 §8.2.7)."""
        try:
            key = self._latest_key[:2] if request is self._latest else request.key  # the second needs a parse
            what = b"\0".join(key) + request.call_id.encode("utf-8", "surrogateescape")
        except ParseError:
            what = b""
        return f"{self._stateless_tag}{crc32(what):08x}"


def _key_of(request: Request, flow: Flow) -> ServerKey:
    """By what the transaction of a request is found (RFC 3261 §17.2.3)."""
    method = "INVITE" if request.method == "ACK" else request.method
    branch, sent_by = request.key
    # RFC 2543 peers send no magic cookie. Their branch proves nothing, so for
    # them alone we match by the older rule at the end of §17.2.3.
    if not branch.startswith(_COOKIE):
        what = (request.target, request.from_tag, request.call_id, str(request.cseq.number), request.via.transport)
        branch = b"\0".join((branch, *(part.encode("utf-8", "surrogateescape") for part in what)))
    return branch, sent_by, method.encode("utf-8", "surrogateescape"), flow.key
