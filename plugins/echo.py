"""
Test numbers: an echo and a tone, both answered inside the exchange.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from pbx.api import Answer, Call, IApplication, ICallRouter, IMediaEnd, IPbx, Leg, Pass, Plugin, Settings, Tone, Verdict, setting


class EchoSettings(Settings):
    """``[echo]``: numbers for trying out a phone."""

    number: str = setting("600", "whoever calls it hears himself; empty: none")
    tone_number: str = setting("601", "whoever calls it hears a tone; empty: none")
    tone_hz: int = setting(440, "frequency of that tone, in hertz", ge=100, le=3400)


@implementer(IApplication)
class Echo:
    """Sends back all that it hears and sees."""

    async def run(self, leg: Leg, media: IMediaEnd) -> None:
        media.echo()
        await Deferred()


@implementer(IApplication)
class SteadyTone:
    """Plays one tone for as long as somebody listens."""

    def __init__(self, frequency_hz: int) -> None:
        self._frequency_hz = frequency_hz

    async def run(self, leg: Leg, media: IMediaEnd) -> None:
        media.play(Tone((self._frequency_hz,)))
        await Deferred()


@implementer(ICallRouter)
class TestNumbers:
    """Answers the two numbers."""

    def __init__(self, settings: EchoSettings, pbx: IPbx) -> None:
        self._applications: dict[str, Callable[[], object]] = {}
        if settings.number:
            self._applications[settings.number] = Echo
        if settings.tone_number:
            self._applications[settings.tone_number] = lambda: SteadyTone(settings.tone_hz)

    async def route(self, call: Call) -> Verdict:
        make = self._applications.get(call.called)
        return Pass() if make is None else Answer(make())


plugin = Plugin("echo", EchoSettings, TestNumbers)
