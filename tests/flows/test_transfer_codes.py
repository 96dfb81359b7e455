"""Nobody is made to dial a star code by a transfer."""

from __future__ import annotations

from tests.flows.transferring import TransferTests

RIGHTS = "".join(f'[extensions.{number}]\npassword = "secret of {number}"\nforwarding = true\n' for number in ("100", "101", "102"))


class CodeTests(TransferTests):
    """Extensions that may set forwards from their phones."""

    configuration = RIGHTS

    def test_forward_of_somebody_else(self) -> None:
        """100 calls 101, which transfers it to ``*93*102``: the calls of 100 do not go to 102 from then on, nor those of 101."""
        caller, callee = self.connected(self.alice, self.bob)
        for transferor in (callee, caller):
            transferor.refer("*93*102")
            self.world.run(1.0)
            self.assertEqual(transferor.told[-1], "SIP/2.0 403 Forbidden")
            self.both_talk(caller, callee)
        rows = self.world.service.generation.shell_commands()["forwards"]()
        self.assertEqual(rows, [])

    def test_pickup_for_somebody_else(self) -> None:
        """Nor does a transferred call answer one that rings."""
        caller, callee = self.connected(self.alice, self.bob)
        self.alice.dial("102")
        self.world.run(0.5)
        callee.refer("*40*102")
        self.world.run(1.0)
        self.assertEqual(callee.told[-1].split()[1], "403")
        self.both_talk(caller, callee)
