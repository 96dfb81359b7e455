"""A start that cannot be: as it is typed, in a process of its own. What went wrong stands there in a sentence, and the status is not 0."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.exchange_process import free_port

ROOT = Path(__file__).resolve().parents[1]


class CannotStartTests(SynchronousTestCase):
    """``twistd -n pbx --config FILE``."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.port = free_port()

    def ended(self, *listens: str) -> str:
        """What it said when it ended by itself; ``listens``: where else it is to listen."""
        everywhere = [f"udp:{self.port}:interface=127.0.0.1", *listens]
        (self.folder / "pbx.toml").write_text(f'[sip]\nlisten = {everywhere}\n[shell]\nlisten = ""\n[extensions.100]\n')
        command = "from twisted.scripts.twistd import run; run()"
        done = subprocess.run(
            [sys.executable, "-c", command, "-n", "--pidfile=", "pbx", "--config", "pbx.toml"],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30.0,
            check=False,
        )
        said = done.stdout + done.stderr
        self.assertNotEqual(done.returncode, 0, said)
        self.assertNotIn("Traceback", said)
        return said

    def test_port_taken(self) -> None:
        """The port, what the system says, and what to do; nothing is left half started."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", self.port))
            said = self.ended()
        self.assertIn(f"pbx: cannot listen on port {self.port} of 127.0.0.1: ", said)
        self.assertIn("change [sip] listen", said)
        self.assertNotIn("ready after", said)

    def test_state_folder_cannot_be_made(self) -> None:
        """A file stands where the state folder would be: which, and what to see to."""
        (self.folder / "var").touch()
        said = self.ended()
        self.assertIn("/var/", said)
        self.assertIn("see to its permissions", said)

    def test_no_database(self) -> None:
        """The database in the state folder is something else: the file is named, and left as it is."""
        database = self.folder / "var" / "pbx.sqlite"
        database.parent.mkdir()
        database.write_bytes(b"somebody's diary")
        said = self.ended()
        self.assertIn("pbx: cannot start: ", said)
        self.assertIn("pbx.sqlite", said)
        self.assertEqual(database.read_bytes(), b"somebody's diary")

    def test_no_certificate(self) -> None:
        """The key of a TLS port is not there: the file is named."""
        said = self.ended(f"tls:{free_port()}:interface=127.0.0.1:privateKey=none.pem:certKey=none.pem")
        self.assertIn("none.pem", said)
        self.assertIn("No such file", said)
