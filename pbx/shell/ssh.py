"""
The shell over SSH (RFC 4251 to 4254): public keys only, no forwarding, no files.

Three ways in: a terminal gets the prompt; ``ssh host 'calls().json()'`` runs one line and ends with status 0, or 1 when it
went wrong; ``ssh host < script`` runs line after line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.error import ValidPublicKey
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.interfaces import IConchUser
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm, TerminalSession
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.session import SSHSession
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from pbx.interfaces import OperationError
from pbx.log import Log
from pbx.shell.commands import Commands, Terminal
from pbx.shell.prompt import Prompt
from pbx.shell.running import run

if TYPE_CHECKING:
    from twisted.conch.ssh.keys import Key

    from pbx.service import PbxService
    from pbx.shell.tracing import Traces

MOST_CONNECTIONS = 16
MOST_TYPED = 1 << 20
"""Octets of a script."""

log = Log(namespace="pbx.shell")


class _Quiet(Log):
    """For conch, which tells at length of every connection that comes and goes."""

    def emit(self, level: Any, format: str | None = None, **fields: object) -> None:
        super().emit(level if level is LogLevel.critical else LogLevel.debug, format, **fields)


_quiet = _Quiet(namespace="pbx.shell.ssh")


class _Near:
    """The far side of a session channel, as conch's process protocol wants it: what the client types comes to `write`."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def write(self, data: bytes) -> None:
        self._script.typed(data)

    def loseConnection(self) -> None:
        self._script.closed()

    def closeStdin(self) -> None:
        self._script.ended()

    def signalProcess(self, name: str) -> None:
        self._script.finish(1)


class Script:
    """Lines run one after another without a terminal."""

    def __init__(self, service: PbxService, who: str, traces: Traces, channel: Any) -> None:
        """``channel``: conch's process protocol of the session."""
        self._service = service
        self._channel = channel
        self._commands = Commands(service, Terminal(who, self._write), traces)
        self._lines: list[str] = []
        self._rest = b""
        self._status = 0
        self._running: Deferred[None] | None = None
        self._reads = False  # whether lines still come
        self._busy = False
        self._over = False
        channel.makeConnection(_Near(self))

    def begin(self, text: bytes) -> None:
        """Run one text, and end."""
        self._lines.append(text.decode("utf-8", "replace"))
        # Not before the client has been told that its request is granted (RFC 4254 §6.5): what came earlier, some do not take.
        self._service.reactor.callLater(0, self._go_on)

    def read(self) -> None:
        """Run what comes, until its end."""
        self._reads = True

    def typed(self, data: bytes) -> None:
        """The client has sent something."""
        if not self._reads:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_TYPED or len(self._lines) > MOST_TYPED:
            self._complain("that is too much at once")
            self.finish(1)
            return
        self._lines += [line.decode("utf-8", "replace") for line in lines]
        self._go_on()

    def ended(self) -> None:
        """The client has nothing more to say: of a script that was the last line, for one command it means nothing."""
        if self._reads:
            self._lines.append(self._rest.decode("utf-8", "replace"))
            self._rest = b""
            self._reads = False
            self._go_on()

    def closed(self) -> None:
        """The channel is gone."""
        self._over = True
        self._commands.gone()
        if self._busy and self._running is not None:
            self._running.cancel()

    def finish(self, status: int) -> None:
        """End the session with an exit status."""
        if self._over:
            return
        self._over = True
        self._commands.gone()
        reason = ProcessTerminated(exitCode=status) if status else ProcessDone(0)
        self._channel.processEnded(Failure(reason))

    def _go_on(self) -> None:
        if self._busy or self._over:
            return
        self._busy = True
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._broke)

    async def _run(self) -> None:
        while self._lines:
            line = self._lines.pop(0)
            if not line.strip():
                continue
            try:
                self._write(await run(line, self._commands, self._service))
            except OperationError as error:
                self._complain(str(error))
        self._busy = False
        # A trace to this terminal goes on until the client has enough of it.
        if not self._reads and not self._commands.is_watching:
            self.finish(self._status)

    def _broke(self, failure: Failure) -> None:
        if not self._over:
            log.failure("a script broke", failure)
            self._complain(failure.getErrorMessage())
            self.finish(1)

    def _write(self, text: str) -> None:
        if text and not self._over:
            self._channel.outReceived(text.encode("utf-8", "backslashreplace"))

    def _complain(self, why: str) -> None:
        self._status = 1
        if not self._over:
            self._channel.errReceived(f"{why}\n".encode("utf-8", "backslashreplace"))


class Session(TerminalSession):
    """One SSH session: a terminal, a command, or a script."""

    service: PbxService
    traces: Traces

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self._size: tuple[int, int] | None = None
        self._prompt: Prompt | None = None
        self._script: Script | None = None

    @property
    def who(self) -> str:
        """For the log: user and address."""
        user: Any = IConchUser(self.original)
        return f"{user.user}@{getattr(user.conn.transport.transport.getPeer(), 'host', 'local')}"

    def getPty(self, term: bytes, windowSize: tuple[int, int, int, int], modes: Any) -> None:  # noqa: N803  # Twisted names it
        height, width = windowSize[:2]
        # A client may say 0: it does not know.
        self._size = (width or 80, height or 24)

    def openShell(self, proto: Any) -> None:
        log.info("{who}: logged in", who=self.who)
        if self._size is None:
            self._script = Script(self.service, self.who, self.traces, proto)
            self._script.read()
            return
        self._prompt = prompt = Prompt(self.service, self.who, self.traces)
        self.transportFactory(proto, ServerProtocol(lambda: prompt), IConchUser(self.original), *self._size)

    def execCommand(self, proto: Any, cmd: bytes) -> None:
        self._script = Script(self.service, self.who, self.traces, proto)
        self._script.begin(cmd)

    def windowChanged(self, newWindowSize: tuple[int, int, int, int]) -> None:  # noqa: N803  # Twisted names it
        height, width = newWindowSize[:2]
        if self._prompt is not None:
            self._prompt.terminalSize(width, height)

    def eofReceived(self) -> None:
        if self._script is not None:
            self._script.ended()
        elif self._prompt is not None:
            self._prompt.handle_QUIT()

    def closed(self) -> None:
        if self._script is not None:
            self._script.closed()


class Realm(TerminalRealm):
    """Gives each who has logged in a session."""

    def __init__(self, service: PbxService, traces: Traces) -> None:
        super().__init__()
        self.sessionFactory: Any = self._session
        self._service = service
        self._traces = traces

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:  # noqa: N803  # Twisted names it
        found = super().requestAvatar(avatarId, mind, *interfaces)
        found[1].channelLookup[b"session"] = Channel
        found[1].user = avatarId.decode("utf-8", "replace") if isinstance(avatarId, bytes) else str(avatarId)
        return found

    def _session(self, original: Any) -> Session:
        session = Session(original)
        session.service, session.traces = self._service, self._traces
        return session


class Channel(SSHSession):
    """A session's channel."""

    _log = _quiet


class Channels(SSHConnection):
    """What runs over a connection."""

    _log = _quiet


class Checker(SSHPublicKeyChecker):
    """Knows the keys, and notes who comes with another."""

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        known: Deferred[Any] = super().requestAvatarId(credentials)
        return known.addErrback(self._refused, credentials)

    def _refused(self, failure: Failure, credentials: Any) -> Failure:
        # `ValidPublicKey` is the answer to a client that only asks; whoever comes with a key that is not here has signed with it.
        if failure.check(UnauthorizedLogin) is not None and failure.check(ValidPublicKey) is None:
            user = credentials.username.decode("utf-8", "replace") if isinstance(credentials.username, bytes) else credentials.username
            log.info("a key of {user} is not accepted", user=user)
        return failure


class Connection(SSHServerTransport):
    """One client."""

    _log = _quiet
    factory: Factory

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.factory.connections.discard(self)
        super().connectionLost(reason)


class Factory(ConchFactory):
    """Takes connections, so many at once."""

    _log = _quiet
    noisy = False
    protocol = Connection

    def __init__(self, realm: Realm, host_key: Key, users: Mapping[str, Sequence[Key]]) -> None:
        """
        Args:
            realm: Makes the sessions.
            host_key: Ours, by which clients know us.
            users: The public keys with which each user may come.
        """
        known = InMemorySSHKeyDB({name.encode(): list(keys) for name, keys in users.items()})
        login: Any = Portal  # conch's realm provides what is wanted, and does not say so
        super().__init__(login(realm, [Checker(known)]))
        ours: Any = host_key  # conch declares octets here, and takes keys
        self.publicKeys = {ours.sshType(): ours.public()}
        self.privateKeys = {ours.sshType(): ours}
        self.services = {**ConchFactory.services, b"ssh-connection": Channels}
        self.connections: set[Connection] = set()

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.connections) >= MOST_CONNECTIONS:
            log.warn("{count} shells are open; one from {peer} is turned away", count=len(self.connections), peer=str(addr))
            return None
        return super().buildProtocol(addr)

    def close(self) -> None:
        """Drop every connection."""
        for connection in list(self.connections):
            transport: Any = connection.transport
            transport.abortConnection()
