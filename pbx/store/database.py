"""
The SQLite file: opening, migrating, and carrying out batches. It runs in the store's thread and knows no reactor.

WAL with synchronous=NORMAL: a commit survives ``kill -9``; a power cut may cost the last seconds.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pbx.store.errors import StoreError
from pbx.store.secrets import make_folder

Statement = tuple[str, tuple[Any, ...], bool]
"""SQL, its arguments, and whether its rows are wanted."""

BUSY_TIMEOUT_MS = 5000

# The statement is to blame, not the disk; a text with lone surrogates is among them (UnicodeEncodeError).
_OWN_FAULTS = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, sqlite3.ProgrammingError, ValueError, OverflowError)

_REMEDIES = (
    ("full", "free some space there"),
    ("readonly", "give us the right to write there"),
    ("unable to open", "see that the folder is there and that we may write to it"),
    ("not a database", "the file is no database of ours: move it away, and a new one is made"),
    ("malformed", "the file is damaged: move it away, and put back a copy"),
    ("locked", "see whether another program has the file open"),
)


def migrations() -> Iterator[tuple[int, str]]:
    """``(number, SQL)`` of each step that has led to the present schema, in order."""
    for entry in sorted(files("pbx.store").joinpath("migrations").iterdir(), key=lambda entry: entry.name):
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            yield int(match.group(1)), entry.read_text("utf-8")


class Database:
    """
    One file, opened when first needed and again after every failure.

    Args:
        path: The file; None: in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def carry_out(self, batch: Sequence[Statement]) -> list[Any]:
        """
        Carry out the statements as one transaction.

        Returns:
            For each its rows, None, or the exception that it alone has raised.

        Raises:
            StoreError: Nothing of the batch is on disk.
        """
        try:
            connection = self.open()
            return self._transaction(connection, batch)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._error(error) from error

    def open(self) -> sqlite3.Connection:
        """Open and migrate, if it has not been done."""
        if self._connection is not None:
            return self._connection
        if self._path is not None:
            make_folder(self._path.parent)
            # SQLite would make it readable by all.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"busy_timeout = {BUSY_TIMEOUT_MS}"):
                connection.execute(f"PRAGMA {pragma}")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close it; the next batch opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                return  # a disk that fails now has failed before, and that was told

    def _migrate(self, connection: sqlite3.Connection) -> None:
        there: int = connection.execute("PRAGMA user_version").fetchone()[0]
        steps = list(migrations())
        newest = steps[-1][0]
        if there > newest:
            raise StoreError(f"{self._path}: was written by a newer version (schema {there}, we know {newest}); install that version again")
        for number, sql in steps:
            if number > there:
                connection.executescript(f"BEGIN;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")

    def _transaction(self, connection: sqlite3.Connection, batch: Sequence[Statement]) -> list[Any]:
        results: list[Any] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, arguments, wants_rows in batch:
                try:
                    cursor = connection.execute(sql, arguments)
                    results.append(cursor.fetchall() if wants_rows else None)
                except _OWN_FAULTS as error:  # SQLite has undone just this one
                    results.append(error)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _error(self, error: Exception) -> StoreError:
        text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in text.lower()), "see to the space and the permissions there")
        return StoreError(f"{self._path or 'the store'}: {text}; {remedy}")
