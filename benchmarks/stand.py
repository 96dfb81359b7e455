"""The stand: a folder, the tools, and the servers that are being compared, each started when first asked for."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.figures import Invalid
from benchmarks.servers import CALLEE, CALLER, CROWD, NETWORK, SERVER, Server
from benchmarks.sipp import CALLEE_PORT, NUMBER, PASSWORD, USERS, Load, Run
from benchmarks.tools import HERE, Tools, twistd

EXCHANGE_PORT, DIGEST_PORT, NUMBERS_PORT, FLOOR_PORT, LINE_PORT, FORWARD_PORT, CROWD_PORT = 15060, 15061, 15062, 15063, 15064, 15065, 15066
NUMBERS = 600
"""Numbers of the configuration for many calls at once: ``1000000001`` and so on, as the harness's caller dials them."""


@dataclass(frozen=True, slots=True)
class Effort:
    """
    How long and how often is measured.

    Attributes:
        pairs: Pairs for each figure; 3 at least for a median that means something.
        seconds: Of one run of calls.
        held: Calls held for the memory.
        relayed: Calls whose RTP is relayed.
        counted: Pairs for the system calls, which hardly differ from run to run.
        warm: Seconds of calls that are not counted, after a start.
    """

    pairs: int = 3
    seconds: float = 10.0
    held: int = 1000
    relayed: int = 200
    warm: float = 3.0
    counted: int = 3


class Stand:
    """What all figures share. A context manager: it ends whatever it has started."""

    def __init__(self, tools: Tools, effort: Effort, say: Callable[[str], None]) -> None:
        self.tools = tools
        self.effort = effort
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="pbx-bench-"))
        self._servers: dict[str, Server] = {}
        self._started: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._started:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Servers

    def exchange(self) -> Server:
        """The exchange with ``bench.toml``."""
        return self._shared("exchange", self.new_exchange)

    def exchange_with_digest(self) -> Server:
        """The exchange with users u0000 to u0999."""
        return self._shared("exchange-digest", lambda: self._pbx("exchange-digest", digest_configuration(), DIGEST_PORT))

    def exchange_with_numbers(self) -> Server:
        """The exchange of ``bench.toml`` with more numbers."""
        return self._shared("exchange-numbers", lambda: self._pbx("exchange-numbers", numbers_configuration(), NUMBERS_PORT))

    def exchange_with_line(self) -> Server:
        """The exchange of ``bench.toml``, whose callee is reached over an outside line."""
        return self._shared("exchange-line", lambda: self._pbx("exchange-line", line_configuration(), LINE_PORT))

    def exchange_that_forwards(self) -> Server:
        """The exchange of ``bench.toml``, whose callee has its calls go to another number while it is busy."""
        return self._shared("exchange-forward", lambda: self._pbx("exchange-forward", forwarding_configuration(), FORWARD_PORT))

    def exchange_in_a_crowd(self) -> Server:
        """The exchange of ``bench.toml``, and users who register from another address than that of the caller."""
        return self._shared("exchange-crowd", lambda: self._pbx("exchange-crowd", crowd_configuration(), CROWD_PORT))

    def floor(self) -> Server:
        """The reference: the least that a Twisted B2BUA can cost."""
        return self._shared("floor", self.new_floor)

    def new_exchange(self) -> Server:
        """One more exchange with ``bench.toml``; there can only be one at a time."""
        return self._pbx("exchange", configuration(), EXCHANGE_PORT)

    def new_floor(self) -> Server:
        """One more reference; there can only be one at a time."""
        harness = self.tools.harness
        assert harness is not None
        command = [sys.executable, str(harness / "floor_b2b.py"), SERVER, str(FLOOR_PORT), CALLEE, str(CALLEE_PORT), "--auth"]
        return self.start("floor", command, FLOOR_PORT)

    def start(self, name: str, command: list[str], port: int = 0) -> Server:
        """Start a server in a folder of its own; one of the same name, which has the same ports, is ended before."""
        for other in [other for other in self._started if other.name == name]:
            other.stop()
            self._started.remove(other)
        server = Server(name, command, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder)), port)
        self._started.append(server)
        return server

    def command_lines(self, *servers: Server) -> list[str]:
        """What was started, for those who want to repeat it."""
        return [shlex.join(server.command) for server in servers]

    def _shared(self, name: str, make: Callable[[], Server]) -> Server:
        server = self._servers.get(name)
        if server is None or not server.alive:
            server = make()
            server.wait_for_options()
            server.settle()
            self._servers[name] = server
        return server

    def _pbx(self, name: str, configuration: str, port: int) -> Server:
        folder = self.folder / f"{name}.toml"
        folder.write_text(configuration, "utf-8")
        return self.start(name, [twistd(), "-n", "--pidfile=", "pbx", "--config", str(folder)], port)

    # Load

    def load(self, rate: int, seconds: float, *, caller: Path | None = None, callee: Path | None = None, hold: float = 0.1) -> Load:
        """Calls, with the harness's scenarios unless others are named."""
        if caller is None or callee is None:
            assert self.tools.harness is not None
            caller = caller or self.tools.harness / "sipp" / "uac.xml"
            callee = callee or self.tools.harness / "sipp" / "uas.xml"
        return Load(caller, callee, rate, max(int(rate * seconds), 1), hold)

    def run(self, server: Server, load: Load) -> Run:
        """Begin a run of SIPp."""
        if self.tools.sipp is None:
            raise Invalid("there is no SIPp: sudo apt-get install -y sip-tester")
        return Run(self.tools.sipp, server, load, self.folder)


def configuration() -> str:
    """``bench.toml`` on the addresses of this run."""
    return (HERE / "bench.toml").read_text("utf-8").replace("127.7.0.", NETWORK)


def numbers_configuration() -> str:
    """``bench.toml`` with `NUMBERS` more static contacts."""
    text = configuration().replace(str(EXCHANGE_PORT), str(NUMBERS_PORT)).replace("15022", "15024")
    numbers = [f"{NUMBER}{number:06d}" for number in range(1, NUMBERS + 1)]
    return text + "".join(f'\n[extensions.{number}]\ncontact = "sip:{number}@{CALLEE}:{CALLEE_PORT}"\n' for number in numbers)


def line_configuration() -> str:
    """``bench.toml`` with an outside line in the place of the callee's extension: the same number leads to the same place."""
    head, _, _ = configuration().replace(str(EXCHANGE_PORT), str(LINE_PORT)).replace("15022", "15025").partition("# The callee.")
    line = f'registrar = "{CALLEE}:{CALLEE_PORT}"\ntransport = "udp"\nuser = "house"\nregister = false\nprefixes = ["1"]\n'
    return f"{head}\n[lines.bench]\n{line}"


def forwarding_configuration() -> str:
    """``bench.toml`` with a second callee, to which the calls of the first go while that is busy."""
    text = configuration().replace(str(EXCHANGE_PORT), str(FORWARD_PORT)).replace("15022", "15026")
    return f'{text}forward_busy = "1001"\n\n[extensions.1001]\ncontact = "sip:1001@{CALLEE}:{CALLEE_PORT}"\n'


def crowd_configuration() -> str:
    """``bench.toml`` with users as in `digest_configuration`, who come from `CROWD`."""
    text = (
        configuration()
        .replace(str(EXCHANGE_PORT), str(CROWD_PORT))
        .replace("15022", "15027")
        .replace("[sip]\n", '[sip]\ndigest = ["MD5"]\n')
    )
    return f'{text}\n[guard]\nexempt = ["{CROWD}"]\n{_users()}'


def digest_configuration() -> str:
    """
    Users with a password, and no trust in addresses.

    MD5 alone, for the reference knows no other. The guard lets one address send 50 requests a second that prove nothing;
    all users of the benchmark come from one, so it is exempt.
    """
    head = (
        f'[sip]\nlisten = ["udp:{DIGEST_PORT}:interface={SERVER}"]\ndigest = ["MD5"]\n\n'
        f'[callback]\nport = 0\n\n[shell]\nlisten = "tcp:15023:interface={SERVER}"\n\n[guard]\nexempt = ["{CALLER}"]\n'
    )
    return head + _users()


def _users() -> str:
    return "".join(f'\n[extensions.u{number:04d}]\npassword = "{PASSWORD}"\n' for number in range(USERS))
