"""
Measure what the exchange costs, as ratios to references measured in the same run.

Exit status 1 if a gate is missed, or if a figure with a gate could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import calls, latency, life, overload, relay, system_calls
from benchmarks.figures import Figure, Invalid, table
from benchmarks.stand import Effort, Stand
from benchmarks.tools import HERE, ROOT, Tools, find

_STEPS = ("parse", "sdp", "transactions")


def _one(measure: Callable[[Stand], Figure]) -> Callable[[Stand], list[Figure]]:
    return lambda stand: [measure(stand)]


# By name: the number in docs/performance.md, what measures it, and whether it needs the harness.
_ALL: dict[str, tuple[Callable[[Stand], list[Figure]], bool]] = {
    "calls": (_one(lambda stand: calls.cpu_per_call(stand, 100, 2.2)), True),
    "calls50": (_one(lambda stand: calls.cpu_per_call(stand, 50, None)), True),
    "line": (_one(calls.cpu_over_a_line), True),
    "forward": (_one(calls.cpu_forwarded), True),
    "syscalls": (lambda stand: [system_calls.system_calls(stand, rate) for rate in (100, 20)], True),
    "order": (_one(calls.back_to_back), False),
    "register": (_one(calls.cpu_per_registration), True),
    "relay": (_one(relay.cpu_per_packet), True),
    "latency": (latency.latency, True),
    "overload": (overload.overload, True),
    "crowd": (_one(overload.crowd), True),
    "memory": (_one(life.memory), True),
    "start": (life.start, False),
}
_QUICK = ("calls", "register", "syscalls")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"under two minutes: {', '.join(_QUICK)}")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(_ALL)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all that was found there, too")
    parser.add_argument("--pairs", type=int, metavar="N", help="pairs a figure (3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of one run of calls (10; 4 with --quick)")
    parser.add_argument("--commands", action="store_true", help="show the commands below the table")
    chosen = parser.parse_args()
    unknown = set((chosen.only or "").split(",")) - {"", *_ALL}
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: there is only {', '.join(_ALL)}")
    return chosen


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(name: str, stand: Stand) -> list[Figure]:
    _say(name)
    try:
        return _ALL[name][0](stand)
    except Invalid as why:
        _say(f"  {why}")
        return [Figure(name, name, "", invalid=str(why))]


def _steps() -> None:
    """The scripts for single steps of the core, which need nothing but this project."""
    for name in _STEPS:
        print(f"\n--- {name}: single steps", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], cwd=ROOT, check=False)


def _machine() -> dict[str, object]:
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _names(chosen: argparse.Namespace, tools: Tools) -> list[str]:
    names = chosen.only.split(",") if chosen.only else list(_QUICK if chosen.quick else _ALL)
    if tools.harness is None:
        print(
            f"There is no harness at {os.environ.get('PBX_BENCH', '../shared/bench')} (PBX_BENCH names its folder): "
            "only what needs none is measured, and ratios to its reference server are not."
        )
        names = [name for name in _ALL if not _ALL[name][1] and (not chosen.only or name in names)]
    return names


def main() -> int:
    """Measure, print the table; the exit status."""
    chosen = _arguments()
    tools = find()
    effort = Effort(seconds=4.0, warm=2.0, counted=1) if chosen.quick else Effort()
    effort = replace(
        effort, pairs=chosen.pairs or effort.pairs, counted=chosen.pairs or effort.counted, seconds=chosen.seconds or effort.seconds
    )
    machine = _machine()
    figures: list[Figure] = []
    with Stand(tools, effort, _say) as stand:
        for name in _names(chosen, tools):
            figures += _measure(name, stand)
    if tools.harness is None:
        _steps()
    print(f"\nPython {machine['python']}, {machine['cores']} cores, load {os.getloadavg()[0]:.2f}; medians of {effort.pairs} pairs\n")
    print(table(figures))
    for figure in figures:
        for note in [*figure.notes, *([figure.invalid] if figure.invalid else [])]:
            print(f"{figure.title}: {note}")
        for command in figure.commands if chosen.commands else []:
            print(f"{figure.title}: $ {command}")
    if chosen.json is not None:
        found = {"machine": machine, "pairs": effort.pairs, "seconds": effort.seconds, "figures": [figure.as_json() for figure in figures]}
        chosen.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    missed = [figure.title for figure in figures if figure.missed]
    print(f"\ngates missed: {', '.join(missed)}" if missed else "\nall gates are met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
