"""
What ``make test`` and ``make check`` run: format, lint, types, layers, tests with branch coverage.

Everything is run, also after a failure. The last line says how many trial tests passed and how many
failed; a check that fails counts as one more failure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("pbx", "plugins", "tests")
MORE_CODE = tuple(name for name in ("benchmarks", "docs", ".ci", "twisted") if (ROOT / name).is_dir())
COVERED = ("pbx/sip", "pbx/sdp", "pbx/rtp")
LEAST_COVERAGE = 95
_COUNT = re.compile(r"(\w+)=(\d+)")


def run(title: str, *arguments: str, environment: dict[str, str] | None = None) -> tuple[bool, str]:
    """Run a Python module, show what it says as it comes, and return whether it was content, and its words."""
    print(f"--- {title}", flush=True)
    said: list[str] = []
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            said.append(line)
    return process.returncode == 0, "".join(said)


def static_checks() -> int:
    """Format, lint and types; the number of those that failed."""
    failed = 0
    failed += not run("ruff format", "ruff", "format", "--check", *CODE, *MORE_CODE)[0]
    failed += not run("ruff check", "ruff", "check", *CODE, *MORE_CODE)[0]
    failed += not run("mypy --strict", "mypy", *CODE)[0]
    return failed


def counted(words: str) -> tuple[int, int]:
    """Passed and failed tests by trial's last words: ``FAILED (failures=1, errors=2, successes=3)``."""
    ran = re.findall(r"^Ran (\d+) tests", words, re.MULTILINE)
    verdict = re.findall(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", words, re.MULTILINE)
    if not ran or not verdict:
        return 0, 1  # it did not come to its end
    counts = {name: int(number) for name, number in _COUNT.findall(verdict[-1])}
    total = int(ran[-1])
    failed = counts.get("failures", 0) + counts.get("errors", 0) + counts.get("unexpectedSuccesses", 0)
    skipped = counts.get("skips", 0) + counts.get("expectedFailures", 0)
    return max(total - failed - skipped, 0), failed


def tests() -> tuple[int, int]:
    """All tests, with branch coverage; what is covered too little counts as one failure each."""
    asked_for = {"PBX_INTEROP": "required", "PBX_PACKAGING": "1"}
    happy, words = run("trial", "coverage", "run", "-m", "twisted.trial", "--temp-directory=build/trial", "tests", environment=asked_for)
    passed, failed = counted(words)
    if not happy and not failed:
        failed = 1
    for package in COVERED:
        least = f"--fail-under={LEAST_COVERAGE}"
        failed += not run(f"coverage of {package}", "coverage", "report", least, f"--include={package}/*")[0]
    run("coverage of all", "coverage", "report", "--format=total")
    return passed, failed


def main() -> int:
    """Run what the command line names: ``check`` or ``test``."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    failed = static_checks()
    if sys.argv[1:] == ["check"]:
        layers, _ = run("layers", "twisted.trial", "--temp-directory=build/trial-check", "tests.test_layers")
        print("in order" if layers and not failed else "not in order")
        return int(failed > 0 or not layers)
    passed, failed_tests = tests()
    failed += failed_tests
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
