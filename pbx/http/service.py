"""HTTP as a service: listening, and what goes along with it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from pbx.endpoint import listen
from pbx.http.api import Api
from pbx.http.door import Door
from pbx.http.metrics import Tally
from pbx.log import Log
from pbx.net.address import is_address

if TYPE_CHECKING:
    from pbx.service import PbxService

log = Log(namespace="pbx.http")


class HttpService(Service):
    """
    HTTP of a server.

    Args:
        service: The server; not yet started.
        reactor: What listens.

    Attributes:
        door: Takes the connections.
        port: What it listens on, once it does.
    """

    def __init__(self, service: PbxService, reactor: Any) -> None:
        self.setName("http")
        self._description = service.loaded.configuration.http.listen
        self._reactor = reactor
        self.port: Any = None
        tally = Tally()
        service.observers.append(("http", tally))
        self.door = Door(Api(service, tally), service.reactor, service.wall)

    def privilegedStartService(self) -> None:
        """
        Listen.

        Raises:
            SystemExit: With a sentence: the port is taken.
        """
        self.port = listen(self._reactor, self._description, self.door, "http")
        if not is_near(self._description):
            log.warn("http listens beyond this machine, and tokens go over the wire as they are: put a proxy with TLS before it")
        super().privilegedStartService()

    def stopService(self) -> Deferred[Any] | None:
        """Close the port and every connection."""
        super().stopService()
        self.door.stopFactory()
        port, self.port = self.port, None
        return maybeDeferred(port.stopListening) if port is not None else None


def is_near(description: str) -> bool:
    """Whether only programs on this machine can reach what listens there."""
    match = re.fullmatch(r"tcp:\d+(?::interface=(.*))?", description)
    if match is None:
        return True  # a UNIX socket
    address = (match.group(1) or "").replace("\\:", ":")
    return address == "localhost" or (is_address(address) and ip_address(address).is_loopback)
