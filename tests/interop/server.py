"""The exchange process of the interop tests: its configuration, and a TestCase that has one."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.exchange_process import ExchangeProcess, free_port
from tests.interop.tools import LOOPBACK, need, until

__all__ = ["CALLEE_ADDRESS", "CALLER_ADDRESS", "PASSWORD", "ServerTestCase", "configuration"]

PASSWORD = "a-long-secret-for-tests"
CALLER_ADDRESS = "127.0.0.2"  # SIPp as a caller: a device trusted by its address
CALLEE_ADDRESS = "127.0.0.3"  # SIPp as a callee: a static contact
CALL_TABLES = ("calls", "legs", "dialogs", "call_transactions", "call_timers", "media_ports")


def configuration(
    sip_port: int,
    tls_port: int,
    shell_port: int,
    callee_port: int,
    more: str = "",
    digest: str = "",
    language: str = "en",
    of_extensions: Mapping[int, str] = MappingProxyType({}),
    callback_port: int = 0,
    callee: str = CALLEE_ADDRESS,
) -> str:
    """
    A ``pbx.toml``: extensions 100 to 107 with `PASSWORD`, 300 at a static contact, 301 trusted by address.

    Nothing else is set but ports and the language: what the tests see is what an operator gets. ``callee``: the address of 300.
    """
    there = f"[{callee}]" if ":" in callee else callee
    ipv6 = f', "udp:{sip_port}:interface={callee}", "tcp:{sip_port}:interface={callee}"' if ":" in callee else ""
    extensions = "".join(f'[extensions.{number}]\npassword = "{PASSWORD}"\n{of_extensions.get(number, "")}\n' for number in range(100, 108))
    return f"""
language = "{language}"

[sip]
domain = "{LOOPBACK}"
listen = ["udp:{sip_port}:interface={LOOPBACK}", "tcp:{sip_port}:interface={LOOPBACK}", "tls:{tls_port}:interface={LOOPBACK}"{ipv6}]
{digest and f"digest = {digest}"}

[shell]
listen = "tcp:{shell_port}:interface={LOOPBACK}"

[callback]
port = {callback_port}
interface = "{LOOPBACK}"
response_retries = 4

[extensions.300]
contact = "sip:300@{there}:{callee_port}"
password = "{PASSWORD}"

[extensions.301]
address = "{CALLER_ADDRESS}"
password = "{PASSWORD}"

{extensions}
{more.replace("CALLEE", f"{there}:{callee_port}")}
"""


class _Stage:
    """What the tests of one class share. Trial knows no fixtures of classes: the next class ends the one before, the last ends at exit."""

    def __init__(self) -> None:
        self._owner: type | None = None
        self._failure: Exception | None = None
        self._stack = ExitStack()
        atexit.register(self.clear)

    def set_for(self, owner: type[ServerTestCase]) -> None:
        """Set the stage for ``owner`` unless it is; a failure is told to each test of the class."""
        if self._owner is not owner:
            self.clear()
            self._owner = owner
            try:
                owner.prepare(self._stack)
            except Exception as failure:
                self._failure = failure
                self._stack.close()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def clear(self) -> None:
        """End all processes of the present class."""
        self._owner = self._failure = None
        self._stack.close()


_STAGE = _Stage()


class ServerTestCase(SynchronousTestCase):
    """Tests of one class share one exchange; each must leave it without calls."""

    more: ClassVar[str] = ""  # further tables of the configuration; CALLEE in it is where SIPp stands as a callee
    of_extensions: ClassVar[Mapping[int, str]] = MappingProxyType({})  # further lines of the tables of extensions 100 to 107
    language: ClassVar[str] = "en"
    callee_address: ClassVar[str] = CALLEE_ADDRESS
    digest: ClassVar[str] = ""  # the value of [sip] digest, for phones that stumble over SHA-256
    exchange: ClassVar[ExchangeProcess]
    callee_port: ClassVar[int]
    tls_port: ClassVar[int]
    callback_port: ClassVar[int]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """Start the exchange in a folder of its own, once a class; what is to end with the class goes on ``stack``."""
        need("ssh", "openssh-client")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pbx-interop-")))
        sip_port, cls.tls_port, shell_port = free_port(), free_port(), free_port()
        cls.callee_port, cls.callback_port = free_port(cls.callee_address), free_port()
        settings = cls.more, cls.digest, cls.language, cls.of_extensions, cls.callback_port, cls.callee_address
        text = configuration(sip_port, cls.tls_port, shell_port, cls.callee_port, *settings)
        cls.exchange = ExchangeProcess(folder, text, address=LOOPBACK, sip_port=sip_port, shell_port=shell_port)
        stack.callback(cls.exchange.stop)
        cls.exchange.start()

    def setUp(self) -> None:
        """Share the exchange of this class."""
        _STAGE.set_for(type(self))

    def calls(self) -> int:
        """Live calls, as the shell counts them."""
        return int(self.exchange.shell_json("sizes().json()")["calls"])

    def assert_no_calls(self, timeout: float = 5.0) -> None:
        """No call is left, soon after the last BYE."""
        until("no calls left in sizes()", lambda: self.calls() == 0, timeout)

    def assert_empty(self, timeout: float = 45.0) -> None:
        """Every table of calls is empty: 64*T1 (32 s) after the last message of the last call."""

        def left() -> dict[str, int]:
            sizes = self.exchange.shell_json("sizes().json()")
            return {name: sizes[name] for name in CALL_TABLES if sizes[name]}

        until("empty tables of calls", lambda: not left(), timeout, 1.0)
        self.assertEqual(left(), {})

    def assert_no_errors(self) -> None:
        """The log holds no traceback."""
        text = self.exchange.log.read_text(encoding="utf-8", errors="replace")
        self.assertNotIn("Traceback", text, self.exchange.tail())
