"""Signalling latency that the exchange adds, by the kernel's time stamps, calls arriving at random (Poisson)."""

from __future__ import annotations

from functools import partial
from statistics import quantiles

from benchmarks.figures import Figure, Invalid, interleaved
from benchmarks.servers import CALLEE, CALLER, SERVER, Server
from benchmarks.sipp import CALLEE_PORT, NUMBER
from benchmarks.stand import NUMBERS, Stand

_NAMES = {"r180": "INVITE to 180", "r200": "INVITE to 200", "bye": "BYE across"}


def latency(stand: Stand, rate: int = 50) -> list[Figure]:
    """p50 and p99 of the three ways through, in milliseconds; the callee's ringing is not in it."""
    calls = stand.tools.rtp_calls()
    count = min(int(rate * stand.effort.seconds), NUMBERS)

    def one(server: Server) -> dict[str, list[float]]:
        caller = calls.Calls((SERVER, server.port), "trunk", NUMBER, CALLER, CALLEE, CALLEE_PORT, ring=0.03)
        found, failed = caller.latency(rate, count)
        if failed > count * 0.01:
            raise Invalid(f"{server.name}: {failed} of {count} calls failed")
        cut = {name: quantiles(found[name], n=100) for name in _NAMES}
        stand.say(
            f"  latency: {server.name} " + ", ".join(f"{_NAMES[name]} {values[49]:.2f}/{values[98]:.2f} ms" for name, values in cut.items())
        )
        return cut

    ours, reference = stand.exchange_with_numbers(), stand.floor()
    pairs = interleaved(stand.effort.pairs, partial(one, ours), partial(one, reference))
    figures: list[Figure] = []
    for name, title in _NAMES.items():
        for percent in (50, 99):
            figure = Figure(f"latency_{name}_p{percent}", f"{title}, p{percent}, {rate}/s", "ms", against="floor_b2b.py")
            figure.take([(mine[name][percent - 1], its[name][percent - 1]) for mine, its in pairs])
            figure.commands = stand.command_lines(ours, reference)
            figures.append(figure)
    return figures
