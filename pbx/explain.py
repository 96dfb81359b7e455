"""
The routing trace in words: what the dial plan did, or would do, with a call, in English or Chinese.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pbx.call.verdict import Answer, Divert, Outcome, Pass, PickUp, Refuse, Ring

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.verdict import Step, Verdict

_ENGLISH = {
    "dials": "{caller} dials {called}.",
    "asked": "Who knows {called}?",
    "failed": "The attempt ends: {outcome}. What else is there for {called}?",
    "nobody rung": "There is nobody to ring for {called}: {outcome}.",
    "pass": "passes",
    "ring at most": "it may ring for {value:g} s at most",
    "talk at most": "it may last {value:g} s at most",
    "shown": "{value} is shown as the caller",
    "ring": "rings {targets}",
    "ring nobody": "would ring its devices, but none is registered",
    "find nobody": "finds nobody to ring",
    "at once": "all at once",
    "in turn": "one after another",
    "for": "for {value:g} s",
    "divert": "diverts to {to}, because: {because}",
    "answer": "is answered in the exchange, by {application}",
    "refuse": "refuses with {status}: {why}",
    "unknown": "Nobody knows the number {called}: the caller hears 404.",
    "no more": "Nobody has anything more to try: the caller hears how the attempt ended ({outcome}).",
    "pick up": "picks up the call that rings {whose}",
    "no further": "The call goes no further: the caller hears {status}.",
    "took": "{ms:.1f} ms",
    "and": ", ",
}
_CHINESE = {
    "dials": "{caller} 拨打 {called}。",
    "asked": "谁知道 {called}?",
    "failed": "呼叫结束:{outcome}。{called} 还有别的办法吗?",
    "nobody rung": "{called} 没有可振铃的设备:{outcome}。",
    "pass": "放行",
    "ring at most": "最多振铃 {value:g} 秒",
    "talk at most": "最多通话 {value:g} 秒",
    "shown": "主叫显示为 {value}",
    "ring": "振铃 {targets}",
    "ring nobody": "要振铃它的设备,但没有设备注册",
    "find nobody": "没有可振铃的分机",
    "at once": "同时",
    "in turn": "依次",
    "for": "{value:g} 秒",
    "divert": "转到 {to},原因:{because}",
    "answer": "由交换机内的 {application} 应答",
    "refuse": "拒绝,{status}:{why}",
    "unknown": "没有人知道号码 {called}:主叫收到 404。",
    "no more": "没有别的办法了:主叫收到这次呼叫的结果({outcome})。",
    "pick up": "代接正在振铃 {whose} 的呼叫",
    "no further": "呼叫不再转移:主叫收到 {status}。",
    "took": "{ms:.1f} 毫秒",
    "and": ",",
}
_OUTCOMES = {
    Outcome.ANSWERED: "已应答",
    Outcome.BUSY: "忙",
    Outcome.NO_ANSWER: "无人应答",
    Outcome.UNREACHABLE: "无法接通",
    Outcome.REDIRECTED: "被重定向",
    Outcome.REJECTED: "被拒绝",
}


def explained(call: Call, *, rehearsed: bool) -> list[str]:
    """
    The trace of ``call``, a line for each question, verdict and conclusion, in the language of its exchange.

    Args:
        rehearsed: It was a rehearsal (`Exchange.explain`): also say what the caller would hear in the end.
    """
    words = _Words(call.exchange.rules.language)
    lines = [words("dials", caller=call.caller.number, called=call.dialled)]
    question: tuple[str, str, Outcome | None] | None = None
    before: Step | None = None
    for step in call.trace.steps:
        if (step.question, step.called, step.outcome) != question or (before is not None and not isinstance(before.verdict, Pass)):
            question = (step.question, step.called, step.outcome)
            lines.append(_question(step, before, words))
        lines.append(f"  {step.router}: {words.verdict(step.verdict)} [{words('took', ms=step.milliseconds)}]")
        before = step
    if rehearsed:
        lines += _conclusion(call, words)
    return lines


def _question(step: Step, before: Step | None, words: _Words) -> str:
    if step.outcome is None:
        return words("asked", called=step.called)
    nobody = before is not None and isinstance(before.verdict, Ring) and not before.verdict.targets
    return words("nobody rung" if nobody else "failed", called=step.called, outcome=words.outcome(step.outcome))


def _conclusion(call: Call, words: _Words) -> list[str]:
    """What nobody's verdict says: that nobody had one."""
    steps = call.trace.steps
    last = steps[-1].verdict if steps else Pass()
    if steps and steps[-1].question == "divert":
        return [words("no further", status=486 if call.outcome is Outcome.BUSY else 480)]
    overflowing = call.outcome not in (None, Outcome.ANSWERED) and (not steps or steps[-1].question == "overflow" or isinstance(last, Ring))
    if overflowing and isinstance(last, Pass | Ring):
        assert call.outcome is not None
        return [words("no more", outcome=words.outcome(call.outcome))]
    return [words("unknown", called=call.called)] if isinstance(last, Pass | Divert) else []


class _Words:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self._is_chinese = language == "zh"
        self._sentences = _CHINESE if self._is_chinese else _ENGLISH

    def __call__(self, sentence: str, **values: Any) -> str:
        return self._sentences[sentence].format(**values)

    def outcome(self, outcome: Outcome) -> str:
        return _OUTCOMES[outcome] if self._is_chinese else outcome.value

    def verdict(self, verdict: Verdict) -> str:
        match verdict:
            case Pass():
                return self._join((self("pass"), *self._narrowed(verdict)))
            case Ring(targets=()):
                return self._join((self("find nobody"), verdict.why)) if verdict.why else self("ring nobody")
            case Ring():
                how = [self("in turn" if verdict.in_turn else "at once")] if len(verdict.targets) > 1 else []
                seconds = [self("for", value=verdict.timeout)] if verdict.timeout is not None else []
                why = [verdict.why] if verdict.why else []
                return self._join((self("ring", targets=self("and").join(map(str, verdict.targets))), *how, *seconds, *why))
            case Divert():
                return self("divert", to=verdict.to, because=verdict.because)
            case Answer():
                return self("answer", application=type(verdict.application).__name__.lower())
            case Refuse():
                return self("refuse", status=verdict.status, why=verdict.why)
            case PickUp():
                return self("pick up", whose=verdict.whose)

    def _narrowed(self, verdict: Pass) -> Iterable[str]:
        if verdict.ring_at_most is not None:
            yield self("ring at most", value=verdict.ring_at_most)
        if verdict.talk_at_most is not None:
            yield self("talk at most", value=verdict.talk_at_most)
        if verdict.caller is not None:
            yield self("shown", value=verdict.caller)
        if verdict.why:
            yield verdict.why

    def _join(self, parts: Iterable[str]) -> str:
        return self("and").join(parts)
