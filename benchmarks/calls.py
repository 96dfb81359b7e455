"""CPU a call and a registration, against the reference; and calls whose 180 and 200 come back to back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.figures import Figure, Invalid, interleaved
from benchmarks.servers import Server, Spent
from benchmarks.sipp import Load
from benchmarks.stand import Stand
from benchmarks.tools import HERE


def cpu_per_call(stand: Stand, rate: int, goal: float | None) -> Figure:
    """CPU to set up and clear a call, media anchored and records on."""
    figure = Figure(f"call_cpu_{rate}", f"CPU a call, {rate}/s", "ms", against="floor_b2b.py", gate=3.0, goal=goal)
    return _compared(stand, figure, stand.exchange(), stand.floor(), stand.load(rate, stand.effort.seconds))


def cpu_per_registration(stand: Stand, rate: int = 100) -> Figure:
    """CPU of REGISTER, 401, REGISTER with digest, 200; the binding is on disk before the 200 goes out."""
    figure = Figure("register_cpu", f"CPU a REGISTER with digest, {rate}/s", "ms", against="floor_b2b.py, in memory", gate=2.5)
    assert stand.tools.harness is not None
    load = Load(stand.tools.harness / "sipp" / "register.xml", None, rate, int(rate * stand.effort.seconds), users=True)
    return _compared(stand, figure, stand.exchange_with_digest(), stand.floor(), load)


def cpu_over_a_line(stand: Stand, rate: int = 100) -> Figure:
    """CPU of a call that goes out over a line, against the same call between extensions."""
    figure = Figure("line_cpu", f"CPU a call over a line, {rate}/s", "ms", against="between extensions", gate=1.25)
    return _compared(stand, figure, stand.exchange_with_line(), stand.exchange(), stand.load(rate, stand.effort.seconds))


def cpu_forwarded(stand: Stand, rate: int = 100) -> Figure:
    """CPU of a call whose first callee is busy and that is forwarded, with 181, to another, against a plain call."""
    figure = Figure("forward_cpu", f"CPU a forwarded call, {rate}/s", "ms", against="a plain call", gate=1.6)
    plain = stand.load(rate, stand.effort.seconds)
    forwarded = stand.load(rate, stand.effort.seconds, caller=HERE / "uac_forwarded.xml", callee=HERE / "uas_busy_or_not.xml")
    return _compared(stand, figure, stand.exchange_that_forwards(), stand.exchange(), forwarded, plain)


def back_to_back(stand: Stand, rate: int = 100) -> Figure:
    """
    Calls whose 180 and 200 leave the callee in one breath; the caller insists on getting both, in that order.

    One failed call is one too many.
    """
    figure = Figure("back_to_back", f"failed calls, 180 + 200 at once, {rate}/s", "calls", judged="value", gate=0)
    exchange = stand.exchange()
    load = stand.load(rate, stand.effort.seconds, caller=HERE / "uac_in_order.xml", callee=HERE / "uas_at_once.xml")
    failed: list[float] = []
    for _ in range(stand.effort.pairs):
        run = stand.run(exchange, load)
        failed.append(float(load.count - run.wait(tolerated=1.0)))
        figure.commands = [*stand.command_lines(exchange), run.command_line]
    figure.notes.append(f"{len(failed)} runs of {load.count} calls; the sum counts")
    return figure.take_sum(failed)


def _compared(stand: Stand, figure: Figure, ours: Server, reference: Server, load: Load, load_of_reference: Load | None = None) -> Figure:
    commands: dict[str, None] = dict.fromkeys(stand.command_lines(ours, reference))
    loads = {ours: load, reference: load_of_reference or load}
    for server, own in loads.items():
        stand.run(server, replace(own, count=max(int(own.rate * stand.effort.warm), 1))).wait(tolerated=1.0)

    def one(server: Server) -> float:
        load = loads[server]
        spent = Spent(server)
        run = stand.run(server, load)
        commands[run.command_line] = None
        done = run.wait()
        figure.details.setdefault("done", []).append(done)
        cost = spent.seconds() / done * 1000
        stand.say(f"  {figure.title}: {server.name} {cost:.3f} ms")
        if cost <= 0:
            raise Invalid(f"{server.name}: too little load for the grain of the system's accounts")
        return cost

    figure.take([*interleaved(stand.effort.pairs, partial(one, ours), partial(one, reference))])
    figure.commands = list(commands)
    return figure
