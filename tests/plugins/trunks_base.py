"""What the tests of SIP trunks share: extension 100, and the servers of two trunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.call.peer import Caller
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.testing.phone import Phone

ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
ACME = f"""
[trunks.acme]
address = ["{ONE}", "{TWO}"]
prefixes = ["9"]
strip = 1
"""
BACKUP = f"""
[trunks.backup]
address = "{THREE}"
prefixes = ["9"]
"""


class TrunkTests(FlowTests):
    """What these tests share: extension 100, and servers at the addresses of trunks."""

    def start(self, configuration: str = ACME, servers: int = 2) -> tuple[Phone, list[Phone]]:
        self.make_world(configuration)
        phone = self.world.phone("100")
        carriers = [self.world.phone("carrier", registers=False, address=address) for address in (ONE, TWO, THREE)[:servers]]
        return phone, carriers

    def cut(self, address: str) -> None:
        self.world.network.cut(address, "192.0.2.1")

    def explained(self, called: str) -> Call:
        exchange = self.world.exchange
        call: Call = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), called))
        return call

    def row(self, name: str = "acme") -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.world.service.generation.shell_commands()["trunks"]()
        return next(row for row in rows if row["name"] == name)
