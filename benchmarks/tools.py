"""What the benchmarks stand on: the harness, programs of the system, this project; and a sentence for each that is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
_HARNESS_FILES = ("floor_b2b.py", "rtpcalls.py", "rtpload.c", "relayref.py", "sipp/uac.xml", "sipp/uas.xml", "sipp/register.xml")


@dataclass(frozen=True, slots=True)
class Tools:
    """
    What there is; None stands for what there is not.

    Attributes:
        harness: Folder of the harness: reference server, SIPp scenarios, RTP generator.
        sipp: The program that makes calls.
        strace: The program that counts system calls.
        rtpengine: The reference of the media relay.
        compiler: For the harness's RTP generator.
    """

    harness: Path | None
    sipp: str | None
    strace: str | None
    rtpengine: str | None
    compiler: str | None

    def rtp_generator(self, folder: Path) -> Path:
        """Compile the harness's RTP generator."""
        assert self.harness is not None
        assert self.compiler is not None
        program = folder / "rtpload"
        if not program.exists():
            subprocess.run([self.compiler, "-O2", "-o", str(program), str(self.harness / "rtpload.c"), "-lm"], check=True)
        return program

    def rtp_calls(self) -> Any:
        """The harness's small caller and callee, as a module."""
        assert self.harness is not None
        spec = importlib.util.spec_from_file_location("rtpcalls", self.harness / "rtpcalls.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def find() -> Tools:
    """Look for everything."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

    def program(*names: str) -> str | None:
        return next((found for name in names if (found := shutil.which(name, path=path))), None)

    return Tools(_harness(), program("sipp"), program("strace"), program("rtpengine"), program("cc", "gcc", "clang"))


def _harness() -> Path | None:
    folder = (ROOT / os.environ.get("PBX_BENCH", "../shared/bench")).resolve()
    return folder if all((folder / name).is_file() for name in _HARNESS_FILES) else None


def twistd() -> str:
    """The twistd of the Python that runs this, as users start it."""
    beside = Path(sys.executable).parent / "twistd"
    return str(beside) if beside.exists() else shutil.which("twistd") or "twistd"
