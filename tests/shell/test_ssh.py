"""The shell over real SSH, on loopback: Twisted's client against our server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

from twisted.conch.client.knownhosts import KnownHostsFile
from twisted.conch.endpoints import AuthenticationFailed, SSHCommandClientEndpoint
from twisted.conch.ssh.keys import Key
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.config import ShellSettings
from pbx.shell import ShellService, ssh_command
from pbx.shell.service import KeyProblem, authorized, kept_key
from pbx.testing.world import World


class Anybody:
    """Takes a host key without asking."""

    def prompt(self, text: bytes) -> Deferred[bool]:
        return maybeDeferred(lambda: True)

    def warn(self, text: bytes) -> None:
        pass


class Collector(Protocol):
    """What a command prints, until the channel closes."""

    def connectionMade(self) -> None:
        self.data = b""
        self.done: Deferred[tuple[bytes, Any]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback((self.data, reason.value))


class SshTestCase(TestCase):
    """A shell that listens on some port of loopback."""

    timeout = 15.0
    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.world = World()
        service: Any = self.world.service
        service.reactor, service.state_folder = reactor, self.folder
        shell_settings = ShellSettings(listen="tcp:0:interface=127.0.0.1", **self.settings)
        configuration = service.loaded.configuration
        object.__setattr__(configuration, "shell", shell_settings)
        self.shell = ShellService(service)
        self.shell.privilegedStartService()
        self.shell.startService()
        self.addCleanup(self.shell.stopService)
        self.port = self.shell.port.getHost().port

    @inlineCallbacks
    def run_command(self, command: str, key: Key | None = None, user: bytes = b"admin") -> Any:
        """What ``ssh host command`` prints, and its exit status."""
        key = key or Key.fromFile(str(self.folder / "shell_key"))
        # Its annotations ask for less than it takes.
        connect: Any = SSHCommandClientEndpoint.newConnection
        endpoint = connect(
            reactor,
            command.encode(),
            user,
            b"127.0.0.1",
            self.port,
            keys=[key],
            knownHosts=KnownHostsFile(FilePath(self.mktemp())),
            ui=Anybody(),
        )
        protocol = yield endpoint.connect(Factory.forProtocol(Collector))
        data, reason = yield protocol.done
        return data.decode(), 0 if isinstance(reason, ConnectionDone) else reason.exitCode


class CommandTests(SshTestCase):
    """``ssh host 'calls().json()'``."""

    @inlineCallbacks
    def test_json(self) -> Any:
        """JSON is printed, and the status is 0; the key that was made lets the operator in."""
        printed, status = yield self.run_command("sizes().json()")
        self.assertEqual((json.loads(printed)["calls"], status), (0, 0))

    @inlineCallbacks
    def test_error(self) -> Any:
        """An error ends with status 1, its sentence goes to standard error."""
        printed, status = yield self.run_command("hang_up('x')")
        self.assertEqual((printed, status), ("", 1))

    @inlineCallbacks
    def test_much(self) -> Any:
        """Nothing of a long answer is lost."""
        printed, status = yield self.run_command("list(range(200000))")
        self.assertEqual((json.loads(printed)[-1], status), (199999, 0))

    @inlineCallbacks
    def test_wrong_key(self) -> Any:
        """Another key, and another user, are turned away."""
        stranger = kept_key(self.folder / "stranger")
        yield self.assertFailure(self.run_command("calls()", key=stranger), AuthenticationFailed)
        yield self.assertFailure(self.run_command("calls()", user=b"root"), AuthenticationFailed)

    @inlineCallbacks
    def test_host_key_is_kept(self) -> Any:
        """A restart shows clients the same host key, and accepts the same key of theirs."""
        files = {name: (self.folder / name).read_bytes() for name in ("shell_key", "shell_host_key")}
        yield self.shell.stopService()
        self.shell = ShellService(self.world.service)
        self.shell.privilegedStartService()
        self.addCleanup(self.shell.stopService)
        self.assertEqual(files, {name: (self.folder / name).read_bytes() for name in files})


class ProgramTests(SshTestCase):
    """The program ``ssh``, as operators have it."""

    if shutil.which("ssh") is None:
        skip = "the program ssh is not here"

    def ssh(self, *arguments: str, stdin: str | None = None) -> Deferred[Any]:
        """Output, errors, exit status."""
        options = [
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "LogLevel=ERROR",
            "BatchMode=yes",
        ]
        command = [
            "ssh",
            "-F",
            "none",
            "-p",
            str(self.port),
            "-i",
            str(self.folder / "shell_key"),
            *(part for option in options for part in ("-o", option)),
        ]
        quoted = " ".join(f"'{part}'" for part in (*command, "admin@127.0.0.1", *arguments))
        source = f"printf '{stdin}'" if stdin is not None else "true"
        ended: Deferred[Any] = getProcessOutputAndValue("/bin/sh", ["-c", f"{source} | {quoted}"], env={"PATH": "/usr/bin:/bin"})
        return ended

    @inlineCallbacks
    def test_one_command(self) -> Any:
        """Output, status and end of input are as with any other program."""
        out, err, status = yield self.ssh("calls().json()")
        self.assertEqual((out, err, status), (b"[]\n", b"", 0))
        out, err, status = yield self.ssh("calls(1)")
        self.assertEqual((out, err, status), (b"", b"calls: too many positional arguments; it is called so: calls()\n", 1))

    @inlineCallbacks
    def test_script(self) -> Any:
        """Lines from standard input run one after another, to the end of the input."""
        out, err, status = yield self.ssh(stdin='calls()\\nnope\\nsizes().json()["calls"]')
        self.assertEqual((out, err, status), (b"no calls\n0\n", b"there is no nope; help() lists the commands\n", 1))

    @inlineCallbacks
    def test_terminal(self) -> Any:
        """A terminal gets the prompt; ``exit()`` closes it."""
        out, _, _ = yield self.ssh("-tt", stdin="exit()\\r")
        self.assertIn(b"help() lists the commands", out)


class AuthorizedKeysTests(SshTestCase):
    """``[shell] authorized_keys``."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        self.own = kept_key(folder / "own")
        (folder / "keys").write_bytes(b"# comment\n\n" + (folder / "own.pub").read_bytes())
        type(self).settings = {"authorized_keys": (folder / "keys",), "user": "操作员"}
        super().setUp()

    @inlineCallbacks
    def test_own_key(self) -> Any:
        """The operator's own key is accepted, and none is made; the name may be Chinese."""
        printed, _ = yield self.run_command("1 + 1", key=self.own, user="操作员".encode())
        self.assertEqual(printed, "2\n")
        self.assertFalse((self.folder / "shell_key").exists())


class KeyTests(SynchronousTestCase):
    """Files of keys."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_made(self) -> None:
        """A key is ed25519, made once, and for nobody else to read; the public half stands beside it."""
        path = self.folder / "shell_key"
        key = kept_key(path)
        self.assertEqual((key.type(), path.stat().st_mode & 0o777, self.folder.stat().st_mode & 0o777), ("Ed25519", 0o600, 0o700))
        self.assertEqual(kept_key(path), key)
        self.assertEqual(authorized(path.with_name("shell_key.pub")), [key.public()])

    def test_opened(self) -> None:
        """A key that a copy has opened to others is closed again."""
        path = self.folder / "shell_key"
        kept_key(path)
        path.chmod(0o644)
        kept_key(path)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_no_key(self) -> None:
        """What is no key is told with its file and line."""
        self.folder.mkdir()
        (self.folder / "x").write_text("nonsense")
        self.assertIn("is no key of ours", str(self.assertRaises(KeyProblem, kept_key, self.folder / "x")))
        self.assertIn("line 1 is no public key", str(self.assertRaises(KeyProblem, authorized, self.folder / "x")))
        (self.folder / "y").write_text("# nobody\n")
        self.assertIn("there is no key in it", str(self.assertRaises(KeyProblem, authorized, self.folder / "y")))
        self.assertIn("cannot be read", str(self.assertRaises(KeyProblem, authorized, self.folder / "z")))


class WayInTests(SynchronousTestCase):
    """What the log tells the operator to type."""

    def test_default(self) -> None:
        """With the key that was made."""
        self.assertEqual(ssh_command(ShellSettings(), Path.cwd() / "var"), "ssh -p 4222 -i var/shell_key admin@127.0.0.1")

    def test_others(self) -> None:
        """Elsewhere, with keys of the operator's own, over a socket file."""
        own: Any = {"authorized_keys": (Path("keys"),)}
        self.assertEqual(ssh_command(ShellSettings(listen="tcp:22", user="x", **own), Path("/v")), "ssh -p 22 x@127.0.0.1")
        settings = ShellSettings(listen="tcp:4222:interface=\\:\\:1", **own)
        self.assertEqual(ssh_command(settings, Path("/v")), "ssh -p 4222 admin@::1")
        self.assertEqual(
            ssh_command(ShellSettings(listen="unix:/run/s", **own), Path("/v")), "ssh -o ProxyCommand='nc -U /run/s' admin@pbx"
        )


class StartTests(TestCase):
    """What stops the start."""

    @inlineCallbacks
    def test_port_taken(self) -> Any:
        """A port that somebody else has stops the start with a sentence."""
        world = World()
        service: Any = world.service
        service.reactor, service.state_folder = reactor, Path(self.mktemp()).absolute()
        taken: Any = reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
        settings = ShellSettings(listen=f"tcp:{taken.getHost().port}:interface=127.0.0.1")
        object.__setattr__(service.loaded.configuration, "shell", settings)
        error = self.assertRaises(SystemExit, ShellService(service).privilegedStartService)
        self.assertIn("end the program that has it, or change [shell] listen", str(error))
        yield taken.stopListening()
