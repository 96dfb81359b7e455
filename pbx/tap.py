"""
``twistd pbx``: the options, and the service made from them.

The configuration is read and checked here, before twistd forks: whoever starts a daemon with a
bad file hears of it at the prompt, not in a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from pbx import __version__
from pbx.config import ConfigurationError, Loaded, load
from pbx.log import LineObserver, twistd_observer

if TYPE_CHECKING:
    from twisted.application.service import IService

EXAMPLE = "etc/pbx.toml"


class Options(usage.Options):
    """What may stand behind ``twistd pbx``."""

    synopsis = "[--config FILE] [--check]"
    longdesc = "A telephone exchange. See docs/configuration.md for what the configuration file may hold."
    optParameters = [["config", "c", EXAMPLE, "The configuration file (TOML)."]]  # noqa: RUF012 -- it is Twisted that reads it
    optFlags = [["check", None, "Check the configuration and the plugins, say what is wrong, and end."]]  # noqa: RUF012
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml")})

    loaded: Loaded

    def opt_version(self) -> None:
        """Show the version, and end."""
        print(f"pbx {__version__}")  # noqa: T201 -- the answer to a question at the prompt
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Read and check the configuration.

        Raises:
            SystemExit: It is not fit to run (every mistake goes to standard error, status 1), or ``--check`` was all.
        """
        try:
            self.loaded = load(self["config"])
        except ConfigurationError as error:
            count = len(error.mistakes)
            raise SystemExit(f"{error}\n{count} mistake{'s' if count > 1 else ''}; nothing was started") from None
        if self["check"]:
            names = ", ".join(self.loaded.plugins) or "none"
            print(f"{self['config']}: in order; plugins: {names}")  # noqa: T201
            raise SystemExit(0)


class Logging(MultiService):
    """Has twistd log through our observer, unless its own ``--logger`` or ``--syslog`` says otherwise."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options
        self._observer: LineObserver | None = None

    def setServiceParent(self, parent: Any) -> None:
        """The parent is twistd's application, which it asks for an observer before anything is started."""
        twistd: Any = self._options.parent if self._options.parent is not None else {}
        if isinstance(parent, Componentized) and not twistd.get("syslog"):
            make = twistd_observer(self._options.loaded.configuration.log, twistd.get("logfile"), bool(twistd.get("nodaemon")))
            self._observer = make()
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """From now on there is a reactor that lines can wait with."""
        from twisted.internet import reactor

        clock: Any = reactor
        super().startService()
        if self._observer is not None:
            self._observer.gather(clock.callLater)

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        if self._observer is not None:
            self._observer.gather(None)

    def stopService(self) -> Deferred[None]:
        """Every line of the end goes out at once."""
        return Deferred.fromCoroutine(self._stop())


def makeService(options: Options) -> IService:
    """The whole exchange as one service."""
    # Only now: by now twistd has installed the reactor that was asked for.
    from twisted.internet import reactor

    from pbx.service import make

    logging = Logging(options)
    made: IService = make(options.loaded, reactor)
    made.setServiceParent(logging)
    return logging
