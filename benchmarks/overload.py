"""What becomes of calls when more comes than can be served (RELIABILITY: overload)."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.figures import Figure, Invalid
from benchmarks.servers import CROWD, Server
from benchmarks.sipp import Load, Run
from benchmarks.stand import Stand
from benchmarks.tools import HERE

_FIRST, _STEP, _LAST = 400, 1.25, 5000
"""Calls a second: where the search for the most begins, how it goes on, and where it ends in any case."""


def overload(stand: Stand) -> list[Figure]:
    """
    Calls served and the time to a 503, at twice the rate of the most that are served.

    SIPp and the callee want a core of their own; a failed call, or 1 % of the messages sent again, makes the figures invalid.
    """
    lost = Figure("overload_lost", "calls lost to twice the load, of the most served", "%", judged="value", gate=20)
    refused = Figure("overload_503", "mean time to a 503 at twice the load", "ms", judged="value", gate=20)
    exchange = stand.exchange()
    most, rate = 0.0, float(_FIRST)
    while True:
        run, served = _served(stand, exchange, int(rate))
        most = max(most, served)
        if served < rate * 0.9:
            break
        rate *= _STEP
        if rate > _LAST:
            raise Invalid(f"{_LAST} calls/s are no overload for this machine")
    losses: list[tuple[float, float | None]] = []
    times: list[tuple[float, float | None]] = []
    for _ in range(stand.effort.pairs):
        run, served = _served(stand, exchange, int(2 * most))
        losses.append((100 * (1 - served / most), None))
        times.append((run.mean("ResponseTime1(C)") * 1000, None))
    for figure, values in ((lost, losses), (refused, times)):
        figure.take(values)
        figure.notes.append(f"the most are {most:.0f} calls/s")
        figure.commands = [*stand.command_lines(exchange), run.command_line]
    return [lost, refused]


def crowd(stand: Stand, telephones: int = 4500, rate: int = 20) -> Figure:
    """
    Calls that fail, or hear 503, while more telephones register than can be served: after a power cut all come at once.

    Args:
        stand: The stand.
        telephones: REGISTERs with digest that begin in a second.
        rate: Calls a second meanwhile.
    """
    figure = Figure("crowd", f"failed calls while {telephones} telephones/s register", "calls", judged="value", gate=0)
    exchange = stand.exchange_in_a_crowd()
    seconds = stand.effort.seconds
    calls = stand.load(rate, seconds)
    assert stand.tools.harness is not None
    scenario = stand.tools.harness / "sipp" / "register.xml"
    registers = Load(scenario, None, telephones, int(telephones * seconds / 4), users=True, source=CROWD)
    stand.run(exchange, replace(registers, rate=100, count=1000)).wait(tolerated=1.0)
    failed: list[float] = []
    for _ in range(stand.effort.pairs):
        run, storm = stand.run(exchange, calls), stand.run(exchange, registers)
        failed.append(float(calls.count - run.wait(tolerated=1.0)))
        storm.stop()
        registered, repeated = (storm.count(name) for name in ("SuccessfulCall(C)", "Retransmissions(C)"))
        stand.say(f"  crowd: {failed[-1]:.0f} of {calls.count} calls failed; {registered} registered, {repeated} repetitions")
        figure.commands = [*stand.command_lines(exchange), run.command_line, storm.command_line]
    figure.notes.append(f"{len(failed)} runs of {calls.count} calls and {registers.count} REGISTERs; the sum counts")
    return figure.take_sum(failed)


def _served(stand: Stand, server: Server, rate: int) -> tuple[Run, float]:
    """A run at ``rate``, and how many calls a second were served in it; the others heard 503."""
    load = stand.load(rate, stand.effort.seconds, caller=HERE / "uac_refusable.xml")
    run = stand.run(server, load)
    done = run.wait()
    served = (done - run.count("GenericCounter1(C)")) / (load.count / load.rate)
    stand.say(f"  overload: {served:.0f} of {rate} calls/s served")
    return run, served
