"""CPU of a relayed RTP packet, against rtpengine in user space, else against the plainest relay loop in Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Invalid, interleaved
from benchmarks.rtpengine import Rtpengine
from benchmarks.servers import CALLEE, CALLER, SERVER, Server, Spent
from benchmarks.sipp import CALLEE_PORT, NUMBER
from benchmarks.stand import Stand

_LOOP_BASE, _OTHER_BASE = 50000, 26000
_WARM_UP = 0.56
"""Seconds that the generator sends before it counts."""
_NG_PORT = 15222
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay with calls on it, and where their packets go: a line a call, as the generator reads them."""

    server: Server
    table: str


def cpu_per_packet(stand: Stand) -> Figure:
    """Every packet counts once: received and sent on. G.711, 20 ms, both ways."""
    calls = stand.effort.relayed
    with_rtpengine = stand.tools.rtpengine is not None
    figure = Figure("relay_cpu", f"CPU a relayed RTP packet, {calls} calls", "µs", gate=1.15 if with_rtpengine else 1.6)
    figure.against = "rtpengine, user space" if with_rtpengine else "plain Python loop"
    if not with_rtpengine:
        figure.notes.append("there is no rtpengine (sudo apt-get install -y rtpengine-daemon): the plain loop is the reference")
    if stand.tools.compiler is None:
        raise Invalid("there is no C compiler for the RTP generator: sudo apt-get install -y gcc libc6-dev")
    generator = stand.tools.rtp_generator(stand.folder)
    ours, hang_up = _exchange(stand, calls)
    try:
        reference = _rtpengine(stand, calls) if with_rtpengine else _plain_loop(stand, calls)
        seconds = min(stand.effort.seconds, 6.0)
        figure.commands = [*stand.command_lines(ours.server, reference.server), f"{generator.name} {seconds:g} < table of {calls} calls"]
        pairs = interleaved(
            stand.effort.pairs,
            partial(_measure, stand, figure, ours, generator, seconds),
            partial(_measure, stand, figure, reference, generator, seconds),
        )
        figure.take([*pairs])
        reference.server.stop()
    finally:
        hang_up()
    return figure


def _measure(stand: Stand, figure: Figure, relay: Relay, generator: Path, seconds: float) -> float:
    spent = Spent(relay.server)
    run = subprocess.run(
        [str(generator), str(seconds)], input=relay.table, capture_output=True, text=True, check=True, timeout=seconds + 60
    )
    found: dict[str, Any] = json.loads(run.stdout)
    cost: float = spent.seconds() / (found["sent"] * (found["secs"] + _WARM_UP) / found["secs"]) * 1e6
    lost = 1 - found["recv"] / max(found["sent"], 1)
    figure.details.setdefault(relay.server.name, []).append(found | {"cpu_us": round(cost, 2)})
    stand.say(f"  RTP: {relay.server.name} {cost:.2f} µs, {100 * lost:.3f} % lost, {found['lat_us_p50']:.0f}/{found['lat_us_p99']:.0f} µs")
    if lost > 0.02:
        raise Invalid(f"{relay.server.name} lost {100 * lost:.1f} % of the packets")
    return cost


def _exchange(stand: Stand, count: int) -> tuple[Relay, Callable[[], None]]:
    """Calls through the exchange, and what ends them."""
    server = stand.exchange_with_numbers()
    calls = stand.tools.rtp_calls().Calls((SERVER, server.port), "trunk", NUMBER, CALLER, CALLEE, CALLEE_PORT)
    made = calls.make(count)
    if made < count:
        calls.bye()
        raise Invalid(f"only {made} of {count} calls were made: {calls.error}")
    if not calls.anchored():
        calls.bye()
        raise Invalid("the exchange does not anchor the media")
    return Relay(server, calls.table()), calls.bye


def _streams(count: int) -> list[tuple[int, int]]:
    """Ports of caller and callee for the reference, none of which the calls through the exchange have."""
    return [(_OTHER_BASE + 4 * number, _OTHER_BASE + 4 * number + 2) for number in range(count)]


def _rtpengine(stand: Stand, count: int) -> Relay:
    assert stand.tools.rtpengine is not None
    command = [stand.tools.rtpengine, "--foreground", "--log-stderr", "--log-level=3", "--table=-1", f"--interface={SERVER}"]
    command += [f"--listen-ng={SERVER}:{_NG_PORT}", "--port-min=34000", "--port-max=49998", f"--num-threads={_THREADS}"]
    server = stand.start("rtpengine", command)
    engine = Rtpengine((SERVER, _NG_PORT))
    engine.wait(server)
    server.settle()
    lines: list[str] = []
    for number, (left, right) in enumerate(_streams(count)):
        toward_callee = engine.offer(f"bench-{number}", (CALLER, left))
        toward_caller = engine.answer(f"bench-{number}", (CALLEE, right))
        lines.append(f"{CALLER} {left} {toward_caller[0]} {toward_caller[1]} {CALLEE} {right} {toward_callee[0]} {toward_callee[1]}\n")
    return Relay(server, "".join(lines))


def _plain_loop(stand: Stand, count: int) -> Relay:
    """The harness's loop: one epoll, connected sockets, ``recv_into`` and ``send``, no check of anything."""
    harness = stand.tools.harness
    assert harness is not None
    command = [sys.executable, str(harness / "relayref.py"), "conn", str(count), SERVER, str(_LOOP_BASE), CALLER, CALLEE, str(_OTHER_BASE)]
    server = stand.start("plain-loop", command)
    server.settle()
    lines = [
        f"{CALLER} {left} {SERVER} {_LOOP_BASE + 4 * number} {CALLEE} {right} {SERVER} {_LOOP_BASE + 4 * number + 2}\n"
        for number, (left, right) in enumerate(_streams(count))
    ]
    return Relay(server, "".join(lines))
