"""
Asks the system's resolver and others for the SIP servers of a name, and says whether they agree.

For the case that all phones are offline since the local resolver gives a wrong address. At the shell of the
system: ``python -m pbx.dnscheck NAME [--system IP[:PORT]] [--resolver IP[:PORT]]...``; the exit status is 0 only
if all resolvers say the same, 1 if they do not, 2 if the command was given wrongly.

The verdicts: ``same``; ``differs``: the system's resolver says something else than each reference, or nothing where
they have an answer; ``blocked``: it answers and no reference does, so that nothing can be compared (a firewall that
lets DNS through to the system's resolver only); ``unreachable``: the system's resolver itself answers nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults

from pbx.core_settings import resolver_address
from pbx.net.address import PRIVATE, Networks
from pbx.net.dns_client import DnsClient, Said, Server, Unanswered, server_name
from pbx.net.dns_message import is_host_name
from pbx.net.lookups import LookupFailed, Trail
from pbx.net.options_probe import Probed, probe
from pbx.net.randomness import SystemChance
from pbx.net.resolver import SERVICES
from pbx.net.system_names import SystemNames
from pbx.operations.answers import Table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pbx.core_settings import DnsSettings
    from pbx.net.dns_client import Reply
    from pbx.net.dns_message import Service

REFERENCES = {"en": ("8.8.8.8", "1.1.1.1"), "zh": ("119.29.29.29", "223.5.5.5")}
"""Who is asked beside the system's resolver where ``[dns] references`` is empty, by language."""

MOST_RESOLVERS = 8
MOST_TARGETS = 4
"""SRV targets whose addresses are compared too."""
MOST_PROBES = 6

_DECIDED = ("found", "none", "NXDOMAIN")
_NOT_PUBLIC = ("local", "lan", "internal", "intranet", "localdomain", "home.arpa", "localhost", "corp", "home")
_near = Networks((*PRIVATE, "0.0.0.0/8", "::/128")).contains


class CheckError(ValueError):
    """What was asked for cannot be checked: a sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What one resolver says to one question.

    Attributes:
        resolver: Who: address and port.
        is_system: Whether it is the system's.
        name: What was asked for.
        kind: ``"NAPTR"``, ``"SRV"``, ``"A"``, ``"AAAA"``.
        state: ``"found"``, ``"none"``, ``"NXDOMAIN"``, ``"SERVFAIL"`` and the like, ``"timeout"``, ``"unreachable"``, ``"garbage"``.
        values: The records as text, sorted.
        ttl: Seconds, the shortest; None without records.
        milliseconds: Round trip.
        near: Those of the addresses that are private or loopback though the name is public.
        services: The SRV records, to follow them.
    """

    resolver: Server
    is_system: bool
    name: str
    kind: str
    state: str
    values: tuple[str, ...] = ()
    ttl: int | None = None
    milliseconds: float = 0.0
    near: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()

    @property
    def is_decided(self) -> bool:
        """Whether it says what there is, be it nothing."""
        return self.state in _DECIDED

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "resolver": server_name(self.resolver),
            "system": self.is_system,
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "values": list(self.values),
            "ttl": self.ttl,
            "milliseconds": self.milliseconds,
            "private": list(self.near),
        }


@dataclass(frozen=True)
class DnsCheck:
    """
    What has come out.

    Attributes:
        name: What was checked.
        verdict: ``"same"``, ``"differs"``, ``"blocked"`` or ``"unreachable"``.
        answers: All of them.
        differences: The questions that are answered differently, as ``"A sip.example"``.
        probes: On ``differs``: which of the addresses speaks SIP.
        language: ``"en"`` or ``"zh"``, of `sentence`.
        hosts: Addresses that the system's hosts file has for the name; they go before every resolver.
    """

    name: str
    verdict: str
    answers: tuple[Answer, ...]
    differences: tuple[str, ...] = ()
    probes: tuple[Probed, ...] = ()
    language: str = "en"
    hosts: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What it means, and what to do."""
        return sentence(self)

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "differences": list(self.differences),
            "answers": [one.json() for one in self.answers],
            "probes": [one.json() for one in self.probes],
            "hosts": list(self.hosts),
        }

    def text(self) -> str:
        """Tables and the sentence, for the screen."""
        rows = [
            (
                server_name(one.resolver) + (" (system)" if one.is_system else ""),
                one.kind,
                one.name,
                ", ".join(one.values) if one.values else one.state,
                one.ttl,
                one.milliseconds,
                " ".join(_marks(self, one)),
            )
            for one in sorted(self.answers, key=lambda one: (_KIND_ORDER.index(one.kind), one.name, not one.is_system))
        ]
        parts = [repr(Table(("resolver", "record", "name", "answer", "ttl", "ms", "remark"), rows))]
        if self.probes:
            probes = [(one.address, one.port, "system" if one.of_system else "reference", one.said) for one in self.probes]
            parts.append(repr(Table(("address", "port", "given_by", "to_OPTIONS"), probes)))
        parts.append(f"{self.name}: {self.verdict}\n{self.sentence}")
        return "\n\n".join(parts)


_KIND_ORDER = ("NAPTR", "SRV", "A", "AAAA")


def _marks(check: DnsCheck, answer: Answer) -> list[str]:
    marks = ["differs"] if f"{answer.kind} {answer.name}" in check.differences else []
    return [*marks, "private!"] if answer.near else marks


async def check_dns(
    name: str,
    system: Sequence[Server],
    references: Sequence[Server],
    *,
    reactor: Any,
    timeout: float = 3.0,  # noqa: ASYNC109  # of each question, and no asyncio is here
    language: str = "en",
    hosts: Sequence[str] = (),
    choose: Callable[[int], int] | None = None,
    probing: Callable[..., Deferred[Probed]] = probe,
) -> DnsCheck:
    """
    Ask everybody, compare, and on a difference see which address speaks SIP. Takes three time limits at most.

    Args:
        name: The domain that phones or lines use.
        system: The resolvers that this system uses.
        references: Those to compare with.
        reactor: Time, UDP and TCP.
        timeout: Seconds for one question, and for the probes.
        language: Of the sentence.
        hosts: What the system's hosts file says, to be told.
        choose: Gives a random whole number below its argument.
        probing: Sends OPTIONS.

    Raises:
        CheckError: ``name`` cannot be looked up, or there is nobody to ask.
    """
    name = checked_name(name)
    system = list(dict.fromkeys(system))[:MOST_RESOLVERS]
    references = [one for one in dict.fromkeys(references) if one not in system][:MOST_RESOLVERS]
    if not system or not references:
        raise CheckError("nobody to compare with: give the address of another resolver than the system's own")
    asking = _Asking(DnsClient(reactor, choose or SystemChance().randrange), system, references, timeout, _is_public(name))
    services = [("SRV", f"{service}.{name}") for service in SERVICES.values()]
    answers = await asking.ask([("NAPTR", name), *services, ("A", name), ("AAAA", name)])
    targets = dict.fromkeys(one.target for answer in answers for one in answer.services if is_host_name(one.target) and one.target != name)
    answers += await asking.ask([(kind, target) for target in list(targets)[:MOST_TARGETS] for kind in ("A", "AAAA")])
    verdict, differences = _compared(answers)
    probes: list[Probed] = []
    if verdict == "differs":
        places = _places(answers)
        probes = await gatherResults([probing(reactor, *place, timeout) for place in places[:MOST_PROBES]], consumeErrors=True)
    return DnsCheck(name, verdict, tuple(answers), differences, tuple(probes), language, tuple(hosts))


def checked_name(name: str) -> str:
    """
    ``name`` in the form that is asked for.

    Raises:
        CheckError: It is none.
    """
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        raise CheckError(f"{name} is an address: there is nothing to look up; give the name that the phones are set to")
    wanted = name.lower().removesuffix(".")
    if not is_host_name(wanted):
        raise CheckError(f"{name[:100]!r} is no host name; write one such as sip.example.com")
    return wanted


class _Asking:
    """Asks all resolvers at the same time."""

    def __init__(self, client: DnsClient, system: Sequence[Server], references: Sequence[Server], timeout: float, is_public: bool) -> None:
        self._client = client
        self._resolvers = [(one, True) for one in system] + [(one, False) for one in references]
        self._timeout = timeout
        self._is_public = is_public

    async def ask(self, questions: Sequence[tuple[str, str]]) -> list[Answer]:
        """Each question (kind and name) to everybody."""
        return await gatherResults(
            [
                Deferred.fromCoroutine(self._ask(server, is_system, kind, name))
                for kind, name in questions
                for server, is_system in self._resolvers
            ],
            consumeErrors=True,
        )

    async def _ask(self, server: Server, is_system: bool, kind: str, name: str) -> Answer:
        if not is_host_name(name):
            return Answer(server, is_system, name, kind, "none")
        try:
            reply = await self._client.ask(name, kind, [server], self._timeout)
        except Unanswered as error:
            said = error.said.get(server, Said("timeout", "", self._timeout))
            return Answer(server, is_system, name, kind, said.word, milliseconds=_milliseconds(said.seconds))
        return self._answer(reply, is_system, kind, name)

    def _answer(self, reply: Reply, is_system: bool, kind: str, name: str) -> Answer:
        trail = Trail(name)
        try:
            records = trail.follow(reply, kind)
        except LookupFailed:
            return Answer(reply.server, is_system, name, kind, "garbage", milliseconds=_milliseconds(reply.seconds))
        state = "found" if records else "NXDOMAIN" if reply.message.response == "NXDOMAIN" else "none"
        values = tuple(sorted({str(record.value) for record in records}))
        return Answer(
            reply.server,
            is_system,
            name,
            kind,
            state,
            values,
            int(min(trail.ttl, *(record.ttl for record in records))) if records else None,
            _milliseconds(reply.seconds),
            tuple(value for value in values if _near(value)) if self._is_public and kind in ("A", "AAAA") else (),
            tuple(record.value for record in records) if kind == "SRV" else (),
        )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _is_public(name: str) -> bool:
    return "." in name and not any(name.endswith("." + one) for one in _NOT_PUBLIC)


def _compared(answers: Sequence[Answer]) -> tuple[str, tuple[str, ...]]:
    """The verdict, and the questions that it is about."""
    if not any(one.is_decided for one in answers if one.is_system):
        return "unreachable", ()
    if not any(one.is_decided for one in answers if not one.is_system):
        return "blocked", ()
    working = {one.resolver for one in answers if one.is_decided}
    differences = []
    for question in dict.fromkeys((one.kind, one.name) for one in answers):
        own = [one for one in answers if (one.kind, one.name) == question and one.resolver in working]
        # References may differ among themselves (a service that answers each region differently): one that agrees is enough.
        right = {frozenset(one.values) for one in own if not one.is_system and one.is_decided}
        said = [one for one in own if one.is_system and (one.is_decided or any(right))]
        if right and any(frozenset(one.values) not in right for one in said):
            differences.append(" ".join(question))
    return ("differs" if differences else "same"), tuple(differences)


def _places(answers: Sequence[Answer]) -> list[tuple[str, int, bool]]:
    """
    Where the two sides would send calls: address, port, and whether the system's resolver says so. What both say is left out.

    By the SRV records for UDP where there are any, else by the addresses of the name.
    """
    sides = []
    for is_system in (True, False):
        own = [one for one in answers if one.is_system == is_system]
        addresses: dict[str, list[str]] = {}
        for one in own:
            if one.kind in ("A", "AAAA"):
                addresses.setdefault(one.name, []).extend(one.values)
        services = [one for answer in own if answer.name.startswith("_sip._udp.") for one in answer.services]
        found = [(address, one.port) for one in services for address in addresses.get(one.target, ()) if one.port]
        sides.append(dict.fromkeys(found or [(address, 5060) for address in addresses.get(answers[0].name, ())]))
    ours, theirs = sides
    half = MOST_PROBES // 2
    return [
        *[(*place, True) for place in ours if place not in theirs][:half],
        *[(*place, False) for place in theirs if place not in ours][:half],
    ]


# What it means

_SENTENCES: dict[str, dict[str, str]] = {
    "en": {
        "same": "All resolvers say the same: DNS is not what is wrong.",
        "nothing": "All resolvers agree that there is nothing under this name: look for a slip in the name, or ask who runs the domain.",
        "differs": "The system's resolver ({system}) does not say what {references} say{about}.",
        "do_differs": 'Put a resolver that you trust into the configuration, [dns] servers = ["{best}"], give the phones'
        " the same one (by DHCP or in their settings), and tell who runs {system}.",
        "speaks": "{address} ({whose}) answers SIP.",
        "silent": "{address} ({whose}) does not.",
        "nobody": "None of the addresses answers SIP over UDP.",
        "whose_system": "from the system's resolver",
        "whose_reference": "from the references",
        "blocked": "The system's resolver ({system}) answers, and none of {references} does: most likely a firewall blocks DNS to the"
        " outside, so its answer cannot be compared. Allow UDP and TCP port 53 to them, or name others that can be reached.",
        "unreachable": "The system's resolver ({system}) does not answer ({why}){others}. Check the network and /etc/resolv.conf.",
        "others_answer": ', and {best} does: [dns] servers = ["{best}"] would do at once',
        "others_silent": ", nor does any other: this host has no way to DNS",
        "near": "A private or loopback address ({near}) for a public name is a sign of a filter, of a captive portal or of split DNS.",
        "hosts": "The hosts file of this system has {hosts} for the name, and that goes before all resolvers.",
        "about": " about {questions}",
        "and": " and ",
    },
    "zh": {
        "same": "所有解析器的结果一致：问题不在 DNS。",
        "nothing": "所有解析器都说这个名称下没有任何记录：请检查名称是否写错，或询问域名的管理者。",
        "differs": "系统解析器（{system}）的回答与 {references} 不一致{about}。",
        "do_differs": '请在配置中写入可信的解析器，[dns] servers = ["{best}"]，话机也使用同一个'
        "（通过 DHCP 或话机设置），并通知 {system} 的管理者。",
        "speaks": "{address}（{whose}）有 SIP 应答。",
        "silent": "{address}（{whose}）没有。",
        "nobody": "这些地址都没有通过 UDP 应答 SIP。",
        "whose_system": "来自系统解析器",
        "whose_reference": "来自参考解析器",
        "blocked": "系统解析器（{system}）有应答，而 {references} 都没有：很可能防火墙禁止访问外部 DNS，因此无法比较。"
        "请放行到它们的 UDP 和 TCP 53 端口，或指定其他可以访问的解析器。",
        "unreachable": "系统解析器（{system}）没有应答（{why}）{others}。请检查网络和 /etc/resolv.conf。",
        "others_answer": '，而 {best} 有应答：写入 [dns] servers = ["{best}"] 即可恢复',
        "others_silent": "，其他解析器也没有：本机无法访问 DNS",
        "near": "公网名称得到了私有或回环地址（{near}）：可能有过滤、认证门户或内外分离的 DNS。",
        "hosts": "本机的 hosts 文件为这个名称写了 {hosts}，它优先于所有解析器。",
        "about": "，涉及 {questions}",
        "and": "、",
    },
}


def sentence(check: DnsCheck) -> str:
    """What ``check`` means and what to do, in its language."""
    words = _SENTENCES.get(check.language, _SENTENCES["en"])
    system = _names(check.answers, words, system=True)
    references = _names(check.answers, words, system=False)
    best = next((server_name(one.resolver) for one in check.answers if not one.is_system and one.is_decided), "")
    given: dict[str, Any] = {"system": system, "references": references, "best": best}
    parts = []
    if check.verdict == "same":
        parts.append(words["same" if any(one.values for one in check.answers) else "nothing"])
    elif check.verdict == "differs":
        about = words["about"].format(questions=words["and"].join(check.differences))
        parts += [words["differs"].format(about=about, **given), *_of_probes(check, words), words["do_differs"].format(**given)]
    elif check.verdict == "blocked":
        parts.append(words["blocked"].format(**given))
    else:
        why = ", ".join(dict.fromkeys(one.state for one in check.answers if one.is_system))
        others = words["others_answer" if best else "others_silent"].format(**given)
        parts.append(words["unreachable"].format(why=why, others=others, **given))
    near = sorted({address for one in check.answers for address in one.near})
    if near:
        parts.append(words["near"].format(near=", ".join(near)))
    if check.hosts:
        parts.append(words["hosts"].format(hosts=", ".join(check.hosts)))
    return ("" if check.language == "zh" else " ").join(parts)


def _of_probes(check: DnsCheck, words: dict[str, str]) -> list[str]:
    if not check.probes:
        return []
    if not any(one.speaks for one in check.probes):
        return [words["nobody"]]
    ordered = sorted(check.probes, key=lambda one: not one.speaks)
    return [
        words["speaks" if one.speaks else "silent"].format(
            address=one.address, whose=words["whose_system" if one.of_system else "whose_reference"]
        )
        for one in ordered
    ]


def _names(answers: Iterable[Answer], words: dict[str, str], *, system: bool) -> str:
    return words["and"].join(dict.fromkeys(server_name(one.resolver) for one in answers if one.is_system == system))


def references_of(chosen: Sequence[str], language: str) -> list[Server]:
    """``[dns] references``, or those of the language."""
    return [resolver_address(one) for one in chosen or REFERENCES.get(language, REFERENCES["en"])]


# The command line


@dataclass
class _Wanted(argparse.Namespace):
    name: str = ""
    system: list[Server] = field(default_factory=list)
    resolver: list[Server] = field(default_factory=list)
    language: str = "en"
    timeout: float = 3.0


def _server(text: str) -> Server:
    try:
        return resolver_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except CheckError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 60.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 60")
    return seconds


def wanted(arguments: Sequence[str] | None = None) -> _Wanted:
    """The command line; leaves with status 2 and a sentence if it is wrong."""
    parser = argparse.ArgumentParser(
        "python -m pbx.dnscheck", description="Do the resolvers agree on the SIP servers of a name? Status 0: yes; 1: no; 2: wrong call."
    )
    address = "IP[:PORT]"
    parser.add_argument("name", type=_name, metavar="NAME", help="the domain that phones or lines use")
    parser.add_argument("--system", type=_server, action="append", metavar=address, help="instead of the system's resolvers")
    parser.add_argument("--resolver", type=_server, action="append", metavar=address, help="to compare with; may be given several times")
    parser.add_argument("--language", choices=sorted(_SENTENCES), default="en", help="of the sentence, and of the usual resolvers")
    parser.add_argument("--timeout", type=_seconds, default=3.0, metavar="SECONDS", help="before a resolver counts as silent")
    found = parser.parse_args(arguments, _Wanted())
    found.resolver = found.resolver or references_of((), found.language)
    return found


async def run(reactor: Any, given: _Wanted, write: Callable[[str], object]) -> int:
    """Check, and write down what came out; gives the exit status."""
    files = SystemNames(reactor)
    hosts = [] if given.system else files.addresses(given.name)
    system = given.system or files.servers()
    try:
        check = await check_dns(
            given.name, system, given.resolver, reactor=reactor, timeout=given.timeout, language=given.language, hosts=hosts
        )
    except CheckError as error:
        write(f"{error}\n")
        return 2
    write(check.text() + "\n")
    return 0 if check.verdict == "same" else 1


def checker(reactor: Any, settings: DnsSettings, language: str) -> Callable[..., Coroutine[Any, Any, DnsCheck]]:
    """
    What checks a name as this server is configured.

    Returns:
        ``check(name, references=())``: the references default to ``[dns] references``. What counts as the system's resolver
        is ``[dns] servers`` where it is set, since our own lines use it.
    """
    files = SystemNames(reactor)

    async def check(name: str, references: Sequence[str] = ()) -> DnsCheck:
        own = [resolver_address(one) for one in settings.servers]
        return await check_dns(
            name,
            own or files.servers(),
            references_of(references or settings.references, language),
            reactor=reactor,
            timeout=settings.timeout,
            language=language,
            hosts=() if own else files.addresses(name.lower().removesuffix(".")),
        )

    return check


def main() -> None:
    """``python -m pbx.dnscheck``."""
    given = wanted()

    from twisted.internet import reactor
    from twisted.internet.task import react

    async def checked(clock: Any) -> None:
        sys.exit(await run(clock, given, sys.stdout.write))

    react(lambda clock: Deferred.fromCoroutine(checked(clock)), (), _reactor=reactor)


if __name__ == "__main__":
    main()
