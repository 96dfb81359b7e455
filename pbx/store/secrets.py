"""
Generated passwords and keys: one file each under the state folder, mode 0600, folders 0700.

Used at the start and from the shell; it reads and writes files at once.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from pbx.store.errors import StoreError

_PART = re.compile(r"[A-Za-z0-9+*_-][A-Za-z0-9+*._-]*")
# Nothing that looks like something else when it is read out or typed on a phone's keys.
_ALPHABET = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ234679"
PASSWORD_LENGTH = 20
"""114 bits."""
KEY_LENGTH = 32


class Secrets:
    """The folder ``secrets`` in the state folder."""

    def __init__(self, state: Path | str) -> None:
        self._folder = Path(state) / "secrets"

    def password(self, name: str) -> tuple[str, bool]:
        """
        The password called ``name`` (``"extensions/100"``), and whether it was made just now.

        Raises:
            StoreError: It can be neither read nor written.
        """
        kept = self._read(name)
        if kept:
            return kept.decode("ascii", "replace").strip(), False
        password = "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))
        self._write(name, password.encode() + b"\n")
        return password, True

    def key(self, name: str) -> bytes:
        """
        The key called ``name`` (``"nonce"``): 32 random octets, made when first asked for.

        Raises:
            StoreError: It can be neither read nor written.
        """
        kept = self._read(name)
        if kept:
            try:
                return bytes.fromhex(kept.decode("ascii"))
            except ValueError:
                where = self.path(name)
                raise StoreError(f"{where}: is not a key of ours; take the file away and a new one is made at the next start") from None
        key = secrets.token_bytes(KEY_LENGTH)
        self._write(name, key.hex().encode() + b"\n")
        return key

    def path(self, name: str) -> Path:
        """
        The file of the secret called ``name``.

        Raises:
            ValueError: The name would lead out of the folder.
        """
        parts = name.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{name!r} cannot be the name of a secret: letters, digits, + * . _ - and / between them")
        return self._folder.joinpath(*parts)

    def _read(self, name: str) -> bytes | None:
        path = self.path(name)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    os.fchmod(file.fileno(), 0o600)  # a copy or a backup has opened it to others
                return file.read(4096).strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}; see to its permissions") from None

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all: a crash or a full disk leaves no half of a secret behind."""
        path = self.path(name)
        try:
            make_folder(path.parent)
            new = path.with_name(f".{path.name}.new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.rename(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}; see to the space and the permissions there") from None


def make_folder(folder: Path) -> None:
    """
    Make ``folder``, for nobody else to read, where it is not there yet.

    Raises:
        OSError: It cannot be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)  # mkdir(parents=True) would give the mode to the last one alone
        folder.mkdir(mode=0o700, exist_ok=True)
