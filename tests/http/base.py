"""A world that listens for HTTP, with a plugin that offers callbacks."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.api import Fault, IPbx, IShellCommands, OperationError, Plugin
from pbx.http.token import hashed
from pbx.testing.http import HttpClient
from pbx.testing.world import World

TOKEN = "a token for tests, and long enough"
CONFIGURATION = f'[http]\nlisten = "tcp:8080:interface=127.0.0.1"\ntokens = ["crm:{hashed(TOKEN)}"]\n'


@implementer(IShellCommands)
class Callbacks:
    """
    Keeps callbacks, and rings nobody.

    Attributes:
        kept: By id.
    """

    def __init__(self, settings: Any, pbx: IPbx) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self._pbx = pbx

    def shell_commands(self) -> dict[str, Any]:
        return {"call_back": self.call_back, "callback": self.callback, "cancel_callback": self.cancel_callback}

    def call_back(
        self, called1: str, called2: str, caller1: str = "", caller2: str = "", maxduration: int = 0, id: str = ""
    ) -> dict[str, Any]:
        """Ring called1; when it answers, ring called2 and join them."""
        if called1.startswith("00"):
            raise OperationError(f"{called1} is not allowed", Fault.FORBIDDEN, "called1")
        if len(self.kept) >= 1000:
            raise OperationError("too many callbacks at once", Fault.OVERLOADED)
        asked = {"called1": called1, "called2": called2, "caller1": caller1, "caller2": caller2 or called1, "maxduration": maxduration}
        own = id or f"cb-{len(self.kept)}"
        known = self.kept.setdefault(own, {"id": own, "state": "ringing", **asked})
        if {**known, **asked} != known:
            raise OperationError(f"{own} is known, with other parameters", Fault.CONFLICT, "id")
        return known

    async def callback(self, id: str) -> dict[str, Any]:
        """One callback."""
        await self._a_moment()
        return self._known(id)

    def cancel_callback(self, id: str) -> dict[str, Any]:
        """End a callback, whatever it is doing."""
        return {**self.kept.pop(self._known(id)["id"]), "state": "cancelled"}

    def _known(self, id: str) -> dict[str, Any]:
        if id not in self.kept:
            raise OperationError(f"there is no callback {id!r}", Fault.UNKNOWN, "id")
        return self.kept[id]

    def _a_moment(self) -> Deferred[None]:
        moment: Deferred[None] = Deferred()
        self._pbx.clock.callLater(0, moment.callback, None)
        return moment


CALLBACKS = Plugin("callback", None, Callbacks)


@implementer(IShellCommands)
class NoCallbacks:
    """Stands in the place of the plugin that has callbacks, and offers none."""

    def __init__(self, settings: Any, pbx: IPbx) -> None:
        pass

    def shell_commands(self) -> dict[str, Any]:
        return {}


NO_CALLBACKS = Plugin("callback", None, NoCallbacks)


class HttpTestCase(SynchronousTestCase):
    """Has a `World`, and a program that asks it over HTTP."""

    configuration = CONFIGURATION
    plugins: tuple[Plugin, ...] = (CALLBACKS,)

    def setUp(self) -> None:
        self.world = World(self.configuration, plugins=self.plugins)
        self.client = HttpClient(self.world, TOKEN)
        self.get, self.ask = self.client.get, self.client.ask

    def talk(self) -> str:
        """100 and 101 talk with each other; gives the call's id."""
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        self.alice_call = self.alice.dial("101")
        self.world.run(1.0)
        self.bob.incoming[0].answer()
        self.world.run(1.0)
        call_id: str = self.get("/api/calls").json[0]["id"]
        return call_id
