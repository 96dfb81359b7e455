"""
The shell as a service: keys, listening, the traces; and how it is reached.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.application.service import Service
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, Key
from twisted.internet.defer import Deferred, maybeDeferred

from pbx.discovery import shown
from pbx.endpoint import listen
from pbx.log import Log
from pbx.shell.tracing import Traces
from pbx.store.secrets import make_folder

if TYPE_CHECKING:
    from pbx.config import ShellSettings
    from pbx.service import PbxService

CLIENT_KEY = "shell_key"
HOST_KEY = "shell_host_key"

log = Log(namespace="pbx.shell")


class ShellService(Service):
    """
    The shell of a server.

    Attributes:
        port: What it listens on, once it does.
    """

    def __init__(self, service: PbxService) -> None:
        self.setName("shell")
        self._service = service
        self._settings: ShellSettings = service.loaded.configuration.shell
        self.port: Any = None
        self._factory: Any = None
        self.traces = Traces(service.messages, service.reactor, service.wall, service.state_folder, service.in_thread)

    def privilegedStartService(self) -> None:
        """
        Read or make the keys, and listen.

        Raises:
            SystemExit: With a sentence: a key cannot be had, or the port is taken.
        """
        from pbx.shell.ssh import Factory, Realm  # conch is loaded only where a shell is wanted

        folder = self._service.state_folder
        try:
            host_key = kept_key(folder / HOST_KEY)
            if self._settings.authorized_keys:
                keys = [key for file in self._settings.authorized_keys for key in authorized(file)]
            else:
                keys = [kept_key(folder / CLIENT_KEY)]
        except KeyProblem as problem:
            raise SystemExit(f"pbx: {problem}") from None
        users = {self._settings.user: [key.public() for key in keys]}
        self._factory = Factory(Realm(self._service, self.traces), host_key, users)
        self.port = listen(self._service.reactor, self._settings.listen, self._factory, "shell")
        super().privilegedStartService()

    def stopService(self) -> Deferred[Any] | None:
        """Close the port and every terminal."""
        super().stopService()
        self.traces.stop()
        if self._factory is not None:
            self._factory.close()
        port, self.port = self.port, None
        return maybeDeferred(port.stopListening) if port is not None else None


class KeyProblem(Exception):
    """A key cannot be had; the sentence says why and what to do."""


def kept_key(path: Path) -> Key:
    """
    The private ed25519 key in ``path``, made there (mode 0600, with its public half beside it) if there is none yet.

    Raises:
        KeyProblem: It can be neither read nor made.
    """
    try:
        if path.exists():
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)  # a copy has opened it to others, and ssh would refuse it
            kept: Key = Key.fromString(path.read_bytes())
            return kept
        make_folder(path.parent)
        key = Key(Ed25519PrivateKey.generate())
        _write(path, key.toString("OPENSSH"), 0o600)
        _write(path.with_name(path.name + ".pub"), key.public().toString("OPENSSH", comment=b"pbx") + b"\n", 0o644)
    except OSError as error:
        raise KeyProblem(f"{shown(path)}: cannot be read or made: {error.strerror}; see to the permissions there") from None
    except (BadKeyError, EncryptedKeyError, ValueError):
        raise KeyProblem(f"{shown(path)}: is no key of ours; take it away and a new one is made") from None
    return key


def authorized(file: Path) -> list[Key]:
    """
    The public keys of a file such as ``~/.ssh/authorized_keys``.

    Raises:
        KeyProblem: It cannot be read, or a line is no key.
    """
    try:
        lines = file.expanduser().read_bytes().splitlines()
    except OSError as error:
        raise KeyProblem(f"[shell] authorized_keys: {file}: cannot be read: {error.strerror}; see to its permissions") from None
    found = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            found.append(Key.fromString(line, type="public_openssh"))
        except (BadKeyError, ValueError, IndexError, TypeError):
            raise KeyProblem(
                f'[shell] authorized_keys: {file}: line {number} is no public key; write it as "ssh-ed25519 AAAA... name", without options'
            ) from None
    if not found:
        raise KeyProblem(f"[shell] authorized_keys: {file}: there is no key in it; add one, or take the file out")
    return found


def ssh_command(shell_settings: ShellSettings, state_folder: Path) -> str:
    """What is typed to reach the shell: ``ssh -p 4222 -i var/shell_key admin@127.0.0.1``."""
    key = "" if shell_settings.authorized_keys else f"-i {shlex.quote(shown(state_folder / CLIENT_KEY))} "
    match = re.fullmatch(r"tcp:(\d+)(?::interface=(.*))?", shell_settings.listen)
    user = shell_settings.user
    if match is None:
        path = shell_settings.listen.removeprefix("unix:").partition(":")[0]
        return f"ssh {key}-o ProxyCommand={shlex.quote(f'nc -U {path}')} {user}@pbx"
    host = (match.group(2) or "").replace("\\:", ":")
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # nothing is bound to it here
        host = "127.0.0.1"
    return f"ssh -p {match.group(1)} {key}{shlex.quote(user)}@{host}"


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)
