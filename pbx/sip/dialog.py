"""
A dialog: RFC 3261 §12. Two tags and a Call-ID, what is needed to send within it, and the order of what comes in.

What stays the same for all requests of a dialog is put together once, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip import build
from pbx.sip.headers import NameAddr, parse_name_addr, tag_of
from pbx.sip.uri import parse_uri

if TYPE_CHECKING:
    from pbx.sip.build import Outgoing
    from pbx.sip.flow import Flow
    from pbx.sip.ids import Ids
    from pbx.sip.message import Request, Response


class Dialog:
    """
    One side's view of a dialog.

    `local` and `remote` are the values of From and To as we send them; `target` is the remote target, which
    a target refresh replaces (§12.2); `routes` are the ready Route lines.
    """

    __slots__ = (
        "_came_by",
        "_hops",
        "_request_uri",
        "call_id",
        "flow",
        "local",
        "local_cseq",
        "local_tag",
        "remote",
        "remote_cseq",
        "remote_tag",
        "routes",
        "target",
    )

    def __init__(
        self,
        flow: Flow,
        call_id: str,
        local: str,
        local_tag: str,
        remote: str,
        remote_tag: str,
        target: str,
        hops: list[NameAddr],
        local_cseq: int,
        remote_cseq: int,
        *,
        follows: bool,
    ) -> None:
        self._came_by = flow if follows else None
        self.flow = flow
        """Requests of the dialog go this way."""
        self.call_id = call_id
        self.local = _plain(local)
        self.remote = _plain(remote)
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_cseq = local_cseq
        """Of the last request we sent; the next has one more (§12.2.1.1)."""
        self.remote_cseq = remote_cseq
        """Of the last request that came; -1 before the first (§12.2.2)."""
        self._hops = hops
        self.retarget(target)

    @classmethod
    def as_uas(cls, request: Request, local_tag: str, flow: Flow, *, follows: bool = False) -> Dialog:
        """
        The dialog that our response to ``request`` creates (§12.1.1).

        ``follows``: its requests go where the far end says (§12.2.1.1), as far as that can be told; otherwise to where it sends from.
        """
        contact = request.contact
        to = request.first("to") or ""
        return cls(
            flow,
            request.call_id,
            local=f"{to};tag={local_tag}",
            local_tag=local_tag,
            remote=request.first("from") or "",
            remote_tag=request.from_tag,
            target=str(contact.uri) if contact is not None else str(request.from_.uri),
            hops=request.record_routes,
            local_cseq=0,
            remote_cseq=request.cseq.number,
            follows=follows,
        )

    @classmethod
    def as_uac(cls, invite: Outgoing, response: Response, flow: Flow, *, follows: bool = False) -> Dialog:
        """The dialog that ``response`` to our ``invite`` creates (§12.1.2); ``follows`` as in `as_uas`."""
        contact = response.contact
        return cls(
            flow,
            invite.call_id,
            local=invite.from_,
            local_tag=tag_of(invite.from_),
            remote=response.first("to") or invite.to,
            remote_tag=response.to_tag,
            target=str(contact.uri) if contact is not None else invite.target,
            hops=response.record_routes[::-1],
            local_cseq=invite.cseq,
            remote_cseq=-1,
            follows=follows,
        )

    def retarget(self, target: str) -> None:
        """Take ``target`` as the remote target and work out Request-URI and Route (§12.2.1.1)."""
        self.target = target
        hops = [str(hop) for hop in self._hops]
        if not self._hops or getattr(self._hops[0].uri, "parameter", lambda _: None)("lr") is not None:
            self._request_uri = target
        else:
            # A strict router (RFC 2543): it is addressed in the Request-URI, and the target goes last.
            self._request_uri = str(self._hops[0].uri)
            hops = [*hops[1:], f"<{target}>"]
        self.routes = build.lines(*(("Route", hop) for hop in hops)) if hops else ""
        if self._came_by is not None:
            self.flow = self._came_by.named(self._hops[0].uri if self._hops else parse_uri(target))

    def request(self, method: str, ids: Ids, extra: str = "", body: bytes = b"", content_type: str = "") -> Outgoing:
        """The next request of this dialog."""
        self.local_cseq += 1
        return self._build(method, self.local_cseq, ids, extra, body, content_type)

    def again(self, before: Outgoing, ids: Ids, credentials: str) -> Outgoing:
        """A request of this dialog once more, as a challenge asks for it (§22.2)."""
        self.local_cseq += 1
        return before.again(self.flow.via, ids.branch(), self.local_cseq, before.extra, credentials)

    def ack(self, cseq: int, ids: Ids, body: bytes = b"", content_type: str = "", credentials: str = "") -> bytes:
        """The ACK to a 2xx: a request of its own, with the number of its INVITE and its credentials (§13.2.2.4)."""
        return self._build("ACK", cseq, ids, credentials, body, content_type).data

    def _build(self, method: str, cseq: int, ids: Ids, extra: str, body: bytes, content_type: str) -> Outgoing:
        return build.request(
            method,
            self._request_uri,
            self.flow.via,
            ids.branch(),
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            routes=self.routes,
            extra=extra,
            body=body,
            content_type=content_type,
        )

    def in_order(self, request: Request) -> bool:
        """Note the number of a request that has come; False when it is not higher than the last (§12.2.2: 500)."""
        number = request.cseq.number
        if number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True


def _plain(value: str) -> str:
    """A From or To value fit to be sent: a NUL may stand in its quoted name (§25.1, quoted-pair), and must not go out again."""
    return str(parse_name_addr(value)) if "\0" in value else value
