"""From the start to the first answer, what is used when nothing happens, and what a held call takes."""

from __future__ import annotations

import time

from benchmarks.figures import Figure, Invalid, interleaved
from benchmarks.servers import Server
from benchmarks.stand import Stand


def start(stand: Stand) -> list[Figure]:
    """Seconds from the start of the process to the first OPTIONS answered; and idle CPU."""
    began = Figure("start", "start to first OPTIONS answered", "s", against="floor_b2b.py", judged="value", gate=1.0, goal=0.5)
    idle = Figure("idle_cpu", "idle CPU", "% of a core", judged="value", goal=0.2)
    with_floor = stand.tools.harness is not None
    if not with_floor:
        began.against = ""
    stand.new_exchange().wait_for_options()  # not counted: it may have to compile and to fetch from the disk
    idles: list[float] = []

    def ours() -> float:
        server = stand.new_exchange()
        took = server.wait_for_options()
        idles.append(100 * server.settle(min(stand.effort.seconds, 5.0)))
        began.commands = stand.command_lines(server)
        server.stop()
        stand.say(f"  start: exchange {took:.3f} s, idle {idles[-1]:.2f} %")
        return took

    def floor() -> float:
        server = stand.new_floor()
        took = server.wait_for_options()
        server.stop()
        return took

    if with_floor:
        began.take([*interleaved(stand.effort.pairs, ours, floor)])
    else:
        began.take([(ours(), None) for _ in range(stand.effort.pairs)])
    idle.take([(value, None) for value in idles])
    idle.commands = began.commands
    return [began, idle]


def memory(stand: Stand, rate: int = 100) -> Figure:
    """KiB that a held call takes, media anchored, each time in a fresh process; what the kernel holds is not counted."""
    figure = Figure("memory", f"memory a held call, {stand.effort.held} calls", "KiB", against="floor_b2b.py, no media", judged="value")
    figure.gate, figure.goal = 40.0, 30.0
    commands: dict[str, None] = {}

    def one(server: Server) -> float:
        server.wait_for_options()
        time.sleep(0.5)
        before = server.memory()
        seconds = stand.effort.held / rate
        run = stand.run(server, stand.load(rate, seconds, hold=seconds + 5.0))
        commands.update(dict.fromkeys([*stand.command_lines(server), run.command_line]))
        time.sleep(seconds + 2.5)
        held, after = run.count("CurrentCall"), server.memory()
        run.wait()
        server.stop()
        if held < stand.effort.held * 0.95:
            raise Invalid(f"{server.name}: only {held} of {stand.effort.held} calls were held")
        stand.say(f"  memory: {server.name} {(after - before) / held:.1f} KiB a call")
        return (after - before) / held

    figure.take([*interleaved(stand.effort.pairs, lambda: one(stand.new_exchange()), lambda: one(stand.new_floor()))])
    figure.commands = list(commands)
    return figure
