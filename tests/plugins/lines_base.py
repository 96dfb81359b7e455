"""What the tests of external lines share: accounts at carriers, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import LogEvent, globalLogPublisher

from pbx.call.peer import Caller
from pbx.log import text_line
from pbx.testing.doorman import Doorman
from tests.flows.base import FlowTests
from tests.flows.carrier import CarrierServer

if TYPE_CHECKING:
    from pbx.call.call import Call

ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
USER = "+4930100"
CMCC = f"""
[lines.cmcc]
registrar = "{ONE}"
domain = "ims.example"
user = "{USER}"
auth_user = "house@ims.example"
password = "the secret"
incoming = "100"
"""
SECOND = f"""
[lines.second]
registrar = "{TWO}"
user = "4940200"
prefixes = ["9"]
backup = true
"""
TOKEN = "secret%20of%20cmcc"
"""As a world in memory has it; a real one is letters and digits."""


class LineTests(FlowTests):
    """What these tests share: extension 100, and servers of carriers."""

    def start(
        self, configuration: str = CMCC, *, algorithms: tuple[str, ...] = ("MD5",), run: float = 1.0, **arguments: Any
    ) -> CarrierServer:
        self.logged: list[LogEvent] = []
        observer: Any = self.logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        names = arguments.pop("names", {})
        self.make_world(configuration, **arguments)
        self.world.names.table.update(names)
        carrier = CarrierServer(self.world, ONE)
        carrier.doorman = Doorman({"house@ims.example": "the secret"}, algorithms)
        self.world.run(run)
        return carrier

    def row(self, name: str = "cmcc") -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.world.service.generation.shell_commands()["lines"]()
        return next(row for row in rows if row["name"] == name)

    def said(self) -> list[str]:
        """What stands in the log of lines."""
        own = [event for event in self.logged if event["log_namespace"] == "pbx.plugins.lines"]
        return [text_line(event).partition("] ")[2].rstrip("\n") for event in own]

    def explained(self, called: str, caller: str = "100") -> Call:
        exchange = self.world.exchange
        call: Call = self.successResultOf(exchange.explain(Caller(exchange.directory[caller], caller), called))
        return call

    def steps(self, called: str, caller: str = "100") -> str:
        return "\n".join(map(str, self.explained(called, caller).trace.steps))
