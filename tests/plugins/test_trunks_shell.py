"""SIP trunks at the prompt of the shell."""

from __future__ import annotations

from tests.plugins.trunks_base import ACME, BACKUP, ONE, THREE, TWO, TrunkTests


class ShellTests(TrunkTests):
    """``trunks()``."""

    def test_rows(self) -> None:
        """A row for each trunk, in the order of the file."""
        self.start(ACME + BACKUP, servers=3)
        self.world.run(2.0)
        self.assertEqual(
            self.world.service.generation.shell_commands()["trunks"](),
            [
                {
                    "name": "acme",
                    "state": "up",
                    "servers": [f"{ONE}:5060 over UDP up", f"{TWO}:5060 over UDP up"],
                    "calls_in": 0,
                    "calls_out": 0,
                    "last_failure": "",
                },
                {
                    "name": "backup",
                    "state": "up",
                    "servers": [f"{THREE}:5060 over UDP up"],
                    "calls_in": 0,
                    "calls_out": 0,
                    "last_failure": "",
                },
            ],
        )
