"""Servers of SIP trunks that do not serve (REFERENCE §3): failover, probes, breaker."""

from __future__ import annotations

from tests.plugins.trunks_base import ACME, BACKUP, ONE, THREE, TWO, TrunkTests


class FailoverTests(TrunkTests):
    """Servers and trunks that do not serve."""

    def test_503(self) -> None:
        """503: the second address at once."""
        phone, carriers = self.start()
        carriers[0].refuses_with = 503
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(len(carriers[1].received("INVITE")), 1)

    def test_silence(self) -> None:
        """Silence: the second address after 4 s."""
        phone, carriers = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        phone.dial("95551")
        self.world.run(3.9)
        self.assertEqual(carriers[1].received("INVITE"), [])
        self.world.run(0.3)
        self.assertEqual(len(carriers[1].received("INVITE")), 1)

    def test_probed_out_and_back(self) -> None:
        """A silent server gets no calls once the probes have noticed, so nobody waits for it; at its first answer it gets them again."""
        phone, carriers = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        self.world.run(42.0)
        self.assertEqual((self.row()["state"], self.row()["servers"]), ("up", [f"{ONE}:5060 over UDP trying", f"{TWO}:5060 over UDP up"]))
        self.assertRegex(self.row()["last_failure"], rf"^{ONE}:5060 over UDP: no answer in 4 s, \d+ s ago$")
        phone.register()
        first = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(carriers[1].received("INVITE")[0].target, f"sip:5551@{TWO}")
        first.hang_up()
        self.world.network.mend(ONE, "192.0.2.1")
        self.world.run(40.0)
        self.assertEqual(self.row()["servers"], [f"{ONE}:5060 over UDP up", f"{TWO}:5060 over UDP up"])
        phone.dial("95552")
        self.world.run(0.2)
        self.assertEqual(carriers[0].received("INVITE")[0].target, f"sip:5552@{ONE}")

    def test_all_down(self) -> None:
        """No server is there: the next trunk with the prefix gets the calls at once, and ``explain`` says why."""
        phone, carriers = self.start(ACME + BACKUP, servers=3)
        self.world.run(2.0)
        self.cut(ONE)
        self.cut(TWO)
        self.world.run(45.0)
        self.assertEqual(self.row()["state"], "down")
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(len(carriers[2].received("INVITE")), 1)
        why = str(self.explained("95551").trace.steps[-1])
        self.assertIn(f"not trunk acme: {ONE}:5060 over UDP: no answer in 4 s; {TWO}:5060 over UDP: no answer in 4 s", why)

    def test_nobody_left(self) -> None:
        """The only trunk is down: 503, and the trace has the reason."""
        phone, _ = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        self.cut(TWO)
        self.world.run(45.0)
        call = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(call.statuses, [503])
        self.assertIn("refuse with 503: not trunk acme", str(self.explained("95551").trace.steps[-1]))

    def test_next_trunk(self) -> None:
        """What the probes have not noticed: when no server of one trunk serves the call, the next trunk gets it."""
        phone, carriers = self.start(ACME + BACKUP, servers=3)
        carriers[0].refuses_with = carriers[1].refuses_with = 503
        call = phone.dial("95551")
        self.world.run(0.3)
        carriers[2].incoming[0].answer()
        self.world.run(0.3)
        self.assertEqual((call.state, carriers[2].received("INVITE")[0].target), ("talking", f"sip:95551@{THREE}"))

    def test_unknown_name(self) -> None:
        """A name that leads nowhere stops no start; the trunk is down with that reason until the name is known."""
        phone, carriers = self.start(ACME.replace(f'["{ONE}", "{TWO}"]', '"sip.acme.example"'))
        self.assertEqual((self.row()["state"], self.row()["last_failure"]), ("down", "sip.acme.example has no address"))
        call = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(call.statuses, [503])
        self.world.names.table["sip.acme.example"] = [("UDP", ONE, 5060)]
        self.world.run(12.0)
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(carriers[0].received("INVITE")[0].target, "sip:5551@sip.acme.example")

    def test_probe_off(self) -> None:
        """``probe = 0``: no OPTIONS, and every call finds out for itself."""
        _, carriers = self.start(ACME + "probe = 0\n")
        self.world.run(100.0)
        self.assertEqual(carriers[0].received("OPTIONS"), [])
        self.assertEqual((self.row()["state"], self.row()["servers"][0]), ("not asked", f"{ONE}:5060 over UDP not asked"))

    def test_stopped(self) -> None:
        """When the server stops, nobody is asked any more."""
        _, carriers = self.start()
        self.world.run(2.0)
        asked = len(carriers[0].received("OPTIONS"))
        stopped = self.world.stop()
        self.world.run(100.0)
        self.successResultOf(stopped)
        self.assertEqual(len(carriers[0].received("OPTIONS")), asked)
