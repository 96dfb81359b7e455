"""
The contracts between the exchange and its plugins, and between its layers.

A plugin provides one or more of the first group; `IPbx` is the handle it is given.
"""

# The methods of a zope Interface have neither self nor a body.
from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from pbx.call.arrival import Arrival
    from pbx.call.call import Call
    from pbx.call.dial_plan import Carrier
    from pbx.call.diversion import Diverting
    from pbx.call.leg import Leg
    from pbx.call.peer import Caller, Challenge, Peer, Target
    from pbx.call.record import Record
    from pbx.call.verdict import Refuse, Verdict
    from pbx.sdp.description import Description


class ICallerIdentifier(Interface):
    """Says who is calling, before any state exists."""

    def identify(arrival: Arrival) -> Caller | Challenge | None:
        """
        Say who sent this request, from tables in memory.

        Returns:
            A `Caller` (trusted by address, or it has proved a password with ``arrival.proves``), a `Challenge` (a name of
            ours that has proved nothing yet), or ``None`` when it is not mine. After a `Challenge` the others are asked all the
            same, and a `Caller` wins. When nobody knows it, it is challenged too, so that a stranger cannot tell which names exist.
        """


class ICallRouter(Interface):
    """
    Says where a call goes next.

    Routers are asked in the order of ``[routing] order``, and the first that does
    not answer `Pass` decides. A failed attempt is not asked about here: see `IOverflow`.

    A plugin that its settings leave nothing to say of calls may have ``is_idle = True`` once it is made: it is then
    not asked, neither as an `ICallerIdentifier`, and told nothing as an `ICallObserver`.
    """

    async def route(call: Call) -> Verdict:
        """
        Decide where ``call`` goes now. It only decides: whatever has an effect happens in applications or when dialling.

        May await anything; the caller has heard only 100 Trying, so after
        ``[routing] patience`` seconds (default 5.0) the caller gets 504. An exception
        means 500: a broken router never falls through to an outside line.

        Raises:
            CancelledError: The caller hung up. Let it through.
        """


class IOverflow(Interface):
    """Says whether there is anything else to try after a failed attempt; ``call.outcome`` tells how it ended."""

    async def overflow(call: Call) -> Verdict:
        """
        Decide what comes after a failed attempt, under the terms of `ICallRouter.route`.

        `Pass`: nothing from me. When nobody has more, the caller gets the best response of the attempts (RFC 3261 §16.7).
        """


class ICallObserver(Interface):
    """Is told what happens to calls, and cannot alter them. What it raises is logged and goes no further."""

    def call_begun(call: Call) -> None:
        """A caller has been identified, nothing is routed yet."""

    def call_answered(call: Call) -> None:
        """The caller is connected to somebody, or to an application; told once more after each transfer."""

    def call_diverted(call: Call, diverter: str, to: str, because: str) -> None:
        """The call goes on to another number."""

    def call_ended(call: Call, record: Record) -> None:
        """It is over; ``record`` tells all of it."""


class IRegistrationPolicy(Interface):
    """May refuse a registration."""

    def may_register(aor: str, contact: str, is_new: bool) -> Refuse | None:
        """
        Say whether the device ``contact`` may register for ``aor``: a plain function over tables in memory.

        ``is_new`` is False for the refresh of a binding that exists.
        """


class ILocationService(Interface):
    """Knows where the devices of an address of record are."""

    async def contacts(aor: str) -> list[Target]:
        """The targets of a number, most wanted first; an expired binding is never among them."""


class IApplication(Interface):
    """Answers a call inside the exchange."""

    async def run(leg: Leg, media: IMediaEnd) -> None:
        """
        Serve the answered ``leg``. When it returns, the exchange hangs up; at the caller's BYE it is cancelled.

        Raises:
            CancelledError: The caller hung up. Let it through.
        """


class Fault(Enum):
    """Why an operation was not carried out, for callers that are programs."""

    WRONG = "wrong"
    """What was asked for makes no sense: a value, or a combination of them."""
    UNKNOWN = "unknown"
    """There is no such thing, or not any more."""
    FORBIDDEN = "forbidden"
    """It may not be done."""
    CONFLICT = "conflict"
    """It contradicts what is there."""
    OVERLOADED = "overloaded"
    """Not now: there is too much of it."""
    BROKEN = "broken"
    """The exchange failed; the log tells more."""


class OperationError(Exception):
    """
    An operation cannot do what was asked: one sentence, shown without a traceback.

    Args:
        text: The sentence.
        fault: Why.
        field: The parameter that is to blame; "" for none.
    """

    def __init__(self, text: str, fault: Fault = Fault.WRONG, field: str = "") -> None:
        super().__init__(text)
        self.fault = fault
        self.field = field


class IShellCommands(Interface):
    """Adds operations: commands of the shell, and those of them that have a route (`pbx.http.routes`) over HTTP."""

    def shell_commands() -> dict[str, Callable[..., Any]]:
        """
        Functions by the name under which they can be called; each docstring is its help.

        They give texts, dicts, lists of dicts, or a Deferred of such; what cannot be done is an `OperationError`.
        """


class MediaUnavailable(Exception):
    """The media plane has no ports left, or cannot be reached: the call gets 503."""


class IMediaEnd(Interface):
    """One leg's end of the media: what that leg's peer sends to, and what we send to it."""

    def play(source: Any) -> None:
        """Send ``source`` (see `pbx.media.tones`) to the peer until `stop`."""

    def stop() -> None:
        """Stop playing."""

    def echo() -> None:
        """Send everything back to the peer that it sends to us."""

    def listen(sink: Callable[[int, bytes, int], None]) -> None:
        """Give each packet to ``sink(payload_type, payload, timestamp)``."""


class IMediaPlane(Interface):
    """Joins the media of two legs. In this process by default; another engine can stand behind it."""

    def end(
        call_id: str, *, local_address: str, signalling_address: str, trusted: tuple[str, ...] = (), nat: bool, owner: Any
    ) -> IMediaEnd:
        """A new end; nothing is allocated yet."""

    async def offer(offerer: Any, answerer: Any, offer: Description) -> Description:
        """The offer that ``answerer``'s peer is to get for the one that ``offerer``'s peer has made."""

    async def answer(answerer: Any, offerer: Any, answer: Description) -> Description:
        """The answer that ``offerer``'s peer is to get for the one that ``answerer``'s peer has made."""

    async def answer_here(end: Any, offer: Description) -> Description:
        """An answer made by the exchange itself, for an application."""

    async def offer_here(end: Any) -> Description:
        """An offer made by the exchange itself."""

    def accept_here(end: Any, answer: Description) -> None:
        """The answer to `offer_here`."""

    def join(a: Any, b: Any) -> None:
        """What comes in at one goes out at the other."""

    def part(end: Any) -> None:
        """Undo `join`."""

    def close(end: Any) -> None:
        """Give everything back. Never waits."""

    def counts(end: Any) -> list[Any]:
        """A `StreamCounts` for each m-line."""

    def sizes() -> dict[str, int]:
        """Lengths of the tables."""


class IStore(Interface):
    """What must outlive the process. Every Deferred fires once it is on disk, or fails with `pbx.store.StoreError`."""

    def save_bindings(aor: str, bindings: list[dict[str, Any]]) -> Deferred[None]:
        """Replace the bindings of ``aor``."""

    def load_bindings() -> Deferred[dict[str, list[dict[str, Any]]]]:
        """All bindings, by address of record."""

    def begin_record(call_id: str, record: str) -> Deferred[None]:
        """Note a call that has been answered (JSON), so that a crash does not lose it."""

    def finish_record(call_id: str, record: str) -> Deferred[None]:
        """Keep the finished record (JSON)."""

    def unfinished_records() -> Deferred[list[tuple[str, str]]]:
        """Calls that a crash has cut: ``(call_id, record)``."""

    def records(limit: int = 100, before: int | None = None) -> Deferred[list[tuple[int, str, str]]]:
        """Finished calls, newest first: ``(id, call_id, record)``; ``before``: only those with a smaller id."""

    def put(namespace: str, key: str, value: str) -> Deferred[None]:
        """Keep a JSON value for a plugin; ``namespace`` is its name."""

    def get(namespace: str, key: str) -> Deferred[str | None]:
        """Read it back."""

    def delete(namespace: str, key: str) -> Deferred[None]:
        """Forget it."""

    def items(namespace: str) -> Deferred[list[tuple[str, str]]]:
        """All of a namespace."""


class IPbx(Interface):
    """The handle that a plugin gets: narrow on purpose."""

    clock = Attribute("An ``IReactorTime``.")
    calls = Attribute("The live calls, by id: a read-only mapping.")
    warnings = Attribute('What was found out about a peer and can be helped by its settings: ``"line a"`` to a sentence.')
    location = Attribute("Provides `ILocationService`.")
    store = Attribute("Provides `IStore`.")
    log = Attribute("A ``twisted.logger.Logger`` named after the plugin.")
    language = Attribute('``"en"`` or ``"zh"``: prompts, texts and some defaults follow it.')
    realm = Attribute("The realm of digest challenges; part of every hash of a password.")
    relay = Attribute('``"always"`` or ``"never"``: what ``[media] relay`` says.')
    outside_prefix = Attribute("What ``[routing] outside_prefix`` says: dialled before an outside number.")
    dial_plan = Attribute("The lines and trunks, a `pbx.call.dial_plan.DialPlan`.")
    user_agent = Attribute("Registers accounts at other servers: a `pbx.call.user_agent.UserAgent`.")
    prober = Attribute("Watches whether other servers are there: a `pbx.call.probing.Prober`.")
    resolver = Attribute("Finds the servers of a domain (RFC 3263): a `pbx.net.resolver.Resolver`.")
    kept = Attribute("A dict of the plugin's own, which its next generation finds again after a reload; it does not outlive the process.")
    state_folder = Attribute("The folder of what must outlive the process, a ``pathlib.Path``.")

    def local_date() -> Any:
        """The wall clock's day, a ``datetime.date``, in local time."""

    def local_time() -> Any:
        """The wall clock's time of day, a ``datetime.time``, in local time."""

    def divert_as(diverting: Diverting) -> None:
        """Say how diversions are told, and how many there may be; in force with this generation of plugins."""

    def rehearse(called: str, *, caller: str = "", level: int | None = None) -> Deferred[Verdict]:
        """
        Say what the dial plan comes to, without ringing anybody.

        Args:
            called: The number, as dialled.
            caller: The extension that dials it; its rights count. "": nobody's, but for ``level``.
            level: The call level of who dials it, in place of the extension's own; None with no caller: local numbers only.
        """

    def wall() -> float:
        """Seconds of Unix time."""

    def refusing() -> str:
        """Why no new calls are taken now, as when the exchange stops or has too much to do; "" when they are."""

    def originate(
        first: str,
        second: str,
        caller: str | None = None,
        *,
        caller_for_second: str | None = None,
        level: int | None = None,
        lasts_at_most: float | None = None,
    ) -> Any:
        """
        Ring ``first``; when it answers, ring ``second`` for it and join them.

        Args:
            first: A number, as one would dial it.
            second: Another.
            caller: The number shown to both, "" for none; None: each sees the other's.
            caller_for_second: The number shown to ``second``, where it is another one.
            level: The call level with which both are dialled; None: with the rights of ``first``.
            lasts_at_most: Seconds from the first one's answer.

        Returns:
            The `Call`. When it is over, its ``originated`` tells what became of it. It may be over at once.
        """

    def listen(description: str, factory: Any) -> Deferred[Any]:
        """Listen for a stream protocol; ``description`` as Twisted's endpoints have it."""

    def listen_udp(port: int, protocol: Any, interface: str = "") -> Any:
        """
        Listen for datagrams with a ``DatagramProtocol``. Returns the ``IListeningPort``.

        Raises:
            twisted.internet.error.CannotListenError: The port is taken.
        """

    def in_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run what would block (a file, a query) outside the loop."""

    def secret(name: str) -> tuple[str, bool]:
        """A generated password kept under the state folder, and whether it was made just now."""

    def show(text: str) -> None:
        """Show the operator something once, at the start: it goes to the screen and into no log."""

    def enlist(peers: Mapping[str, Peer]) -> None:
        """Put numbers into the directory of the exchange: these peers can register, and have rights of their own."""

    def carry(carriers: Sequence[Carrier]) -> None:
        """Put lines or trunks into the dial plan, in the order of the file; in force with this generation of plugins."""

    def expect_number(number: str, setting: str, *, local: bool = True) -> None:
        """
        Demand that ``number`` exists here; not ``local``: or that a line or trunk has a prefix for it.

        Otherwise the start, or the reload, is refused, with a sentence that names ``setting`` (``"lines.a.incoming"``).
        """

    def spare(is_spared: Callable[[str], bool]) -> None:
        """Have the guard ask, before it bans an address, whether it is one that must not be banned."""

    def extensions() -> Mapping[str, Any]:
        """
        The entries of ``[extensions]`` by number, each a `pbx.api.Settings`.

        What a plugin has declared as its ``extension_settings`` is read with ``extensions()["100"].of("its name")``.
        """
