"""Transfers and takeovers at random, among all the rest that phones do to each other: nothing breaks, nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip.invite_session import State
from tests.flows import test_chaos

if TYPE_CHECKING:
    from random import Random

    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall
    from pbx.testing.world import World


class TransferChaosTests(test_chaos.ChaosTests):
    """As `ChaosTests`, with REFER and Replaces; a phone that has sent its REFER often hangs up at once."""

    def step(self, chance: Random, world: World, phones: list[Phone], calls: list[PhoneCall]) -> None:
        """Somebody transfers or takes a call over, or does something else."""
        everything = [*calls, *(call for one in phones for call in one.incoming)]
        talking = [call for call in everything if call.session.state is State.CONFIRMED]
        if talking and chance.random() < 0.15:
            calls.append(chance.choice(talking[-6:]).phone.dial(chance.choice(("101", "102", "600"))))  # a consultation
            return
        if not talking or chance.random() < 0.6:
            super().step(chance, world, phones, calls)
            return
        call = chance.choice(talking[-6:])
        own = [one for one in talking if one is not call and one.phone is call.phone]
        others = own or [one for one in everything if one is not call and one.session.dialog is not None]
        what = chance.random()
        if what < 0.15:
            device = chance.choice([phone for phone in phones if phone.number == call.phone.number])
            calls.append(device.dial("102", chance.choice(("", None)), f"Replaces: {call.replaces}\r\n"))
            return
        subscription = chance.choice(("", "", "Refer-Sub: false\r\n"))
        if what < 0.5 or not others:
            call.refer(chance.choice(("100", "101", "102", "600", "601", "999")), extra=subscription)
            other = None
        else:
            other = chance.choice(others[-3:])
            call.refer_to_call(other)
        if chance.random() < 0.3:
            world.run(chance.choice((0.0, 0.02, 0.1)))
            for one in filter(None, (call, other)):
                if one.session.state is State.CONFIRMED:
                    one.hang_up()
