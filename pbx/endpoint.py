"""Listening on what the configuration names, or ending with a sentence: for the doors of the exchange that are no SIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


def listen(reactor: Any, description: str, factory: Any, table: str) -> Any:
    """
    Listen on a TCP port or a UNIX socket.

    Args:
        reactor: What listens.
        description: As Twisted's endpoints have it.
        factory: Makes the protocols.
        table: Of the configuration, whose ``listen`` says so.

    Returns:
        The port.

    Raises:
        SystemExit: With a sentence: it is taken, or may not be had.
    """
    endpoint: Any = serverFromString(reactor, description)
    listening: Deferred[Any] = endpoint.listen(factory)
    # A port is taken or not, at once; what is raised in a Deferred would stop nothing.
    results: list[Any] = []
    listening.addBoth(results.append)
    (port,) = results
    if isinstance(port, Failure):
        error = port.value
        why = error.socketError if isinstance(error, CannotListenError) else port.getErrorMessage()
        raise SystemExit(
            f"pbx: cannot listen on {description}, for [{table}]: {why}; end the program that has it, or change [{table}] listen"
        ) from None
    return port
