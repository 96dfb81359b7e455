"""Star codes, what is kept of them, and wrong settings (REFERENCE §1)."""

from __future__ import annotations

import json
from pathlib import Path

from pbx.config import ConfigurationError, loads
from pbx.testing.phone_call import PhoneCall
from pbx.testing.store import MemoryStore
from tests.flows.test_forwarding import NUMBERS, ForwardingFlows, extension

RIGHT = extension("101", "forwarding = true")
KEPT = ("forwarding", "101")
OUTSIDE = '[routing]\nlevels = { "90" = 3 }\n[trunks.one]\naddress = "203.0.113.1"\nprefixes = ["9"]\nprobe = 0.0\n'


class CodeTests(ForwardingFlows):
    """Bob (101) sets his forwards from his phone."""

    def dialled(self, code: str) -> PhoneCall:
        call = self.bob.dial(code)
        self.world.run(4.0)
        self.assertEqual(call.state, "over")
        return call

    def kept(self) -> dict[str, object]:
        """What is on disk."""
        found: dict[str, object] = json.loads(self.world.store.values.get(KEPT, "{}"))
        return found

    def test_each(self) -> None:
        """``*90*`` to ``*93*`` set, each its own, ``*9x#`` ends it; confirmed by 200 and a tone, then BYE."""
        self.four(RIGHT)
        for code, kind in (("90", "busy"), ("91", "unreachable"), ("92", "no answer"), ("93", "always")):
            call = self.dialled(f"*{code}*102")
            self.assertEqual((call.statuses, self.kept()[kind]), ([200], "102"))
            self.assertGreater(len(call.heard), 50, "the tone")
            self.assertEqual(self.dialled(f"*{code}#").statuses, [200])
            self.assertEqual(self.kept()[kind], "")

    def test_in_force(self) -> None:
        """What has been set counts for the next call."""
        self.four(RIGHT)
        self.dialled("*90*102")
        self.bob.refuses_with = 486
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual(len(self.carol.incoming), 1)

    def test_closed_by_a_hash(self) -> None:
        """A phone that ends each number with ``#``, written as ``%23`` in the URI."""
        self.four(RIGHT)
        self.dialled("*93*102#")
        self.assertEqual(self.kept(), {"always": "102"})

    def test_wins_over_the_file(self) -> None:
        """What the phone says wins; ``*9x#`` turns off what the file says as well."""
        self.four(extension("101", "forwarding = true", 'forward_always = "102"'))
        self.dialled("*93*103")
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual((len(self.carol.incoming), len(self.dave.incoming)), (0, 1))
        self.dialled("*93#")
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual(len(self.bob.incoming), 1)

    def test_kept_across_a_restart(self) -> None:
        """A new process knows what was set."""
        self.four(RIGHT)
        self.dialled("*93*102")
        left = MemoryStore()
        left.values = self.world.store.values
        self.four(RIGHT, store=left)
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual((len(self.bob.incoming), len(self.carol.incoming)), (0, 1))

    def test_disk_full(self) -> None:
        """What cannot be written is not in force: the phone hears the tone of failure, and the forward is what it was."""
        self.four(RIGHT)
        self.world.store.full = True
        self.dialled("*93*102")
        self.world.store.full = False
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual((len(self.bob.incoming), len(self.carol.incoming)), (1, 0))

    def refused(self, code: str, status: int, configuration: str = RIGHT) -> None:
        self.four(configuration + OUTSIDE)
        call = self.dialled(code)
        self.assertEqual(call.statuses[-1], status)
        self.assertEqual(self.kept(), {}, "the forward is unchanged")
        if len(call.statuses) > 1:
            self.assertEqual(call.statuses[0], 183)
            self.assertGreater(len(call.heard), 50, "the tone")
        else:
            self.fail("it is refused without a tone")

    def test_no_right(self) -> None:
        """Without ``forwarding = true``: 403, after a tone."""
        self.refused("*90*102", 403, "")

    def test_no_number(self) -> None:
        """``*90*``, ``*90`` and ``*90*#`` lack their number: 484."""
        for code in ("*90*", "*90", "*90*#"):
            self.refused(code, 484)

    def test_own_number(self) -> None:
        """To itself: 403."""
        self.refused("*90*101", 403)

    def test_above_its_level(self) -> None:
        """A number that it may not dial itself: 403."""
        self.refused("*90*9055", 403)

    def test_unknown_number(self) -> None:
        """A number that nobody has: 404."""
        self.refused("*90*777", 404)

    def test_star_code(self) -> None:
        """To another star code: 403."""
        self.refused("*90**93*102", 403)

    def test_offline_is_no_reason(self) -> None:
        """The one it goes to is not registered at the moment: that may be different when the time comes."""
        self.make_world(RIGHT, extensions=NUMBERS)
        self.bob = self.world.phone("101")
        self.assertEqual(self.dialled("*90*102").statuses, [200])

    def test_no_star_codes_for_strangers(self) -> None:
        """A trunk that asks for a star code, and a call that is diverted to one, set nothing."""
        trunk = '[trunks.one]\naddress = "198.51.100.1"\nprobe = 0.0\nlevel = 9\n'
        self.make_world(trunk + RIGHT, extensions=NUMBERS)
        stranger = self.world.phone("555", registers=False)
        call = stranger.dial("*93*102")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.kept()), ([403], {}))

    def test_shell(self) -> None:
        """``forwards()`` tells each extension that has any, and what was said by its phone."""
        self.four(extension("101", "forwarding = true", 'forward_busy = "103"'))
        self.dialled("*93*102")
        [row] = self.world.service.generation.instances["forwarding"].forwards()
        self.assertEqual((row["extension"], row["always"], row["busy"], row["from a phone"]), ("101", "102", "103", "always"))


class SettingsTests(ForwardingFlows):
    """What is refused at the start."""

    def wrong(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(text, path=Path("pbx.toml"))
        return str(caught.exception)

    def test_no_number(self) -> None:
        """A forward to what cannot be dialled, with the setting that says it."""
        said = self.wrong(extension("101", 'forward_busy = "*90*1"', 'forward_always = "a b"'))
        self.assertIn("extensions.101.forward_busy", said)
        self.assertIn("extensions.101.forward_always", said)

    def test_form(self) -> None:
        """A form of Call-Info that there is not."""
        self.assertIn("forwarding.call_info", self.wrong('[forwarding]\ncall_info = "all"\n'))

    def test_to_itself(self) -> None:
        """An extension that forwards to itself stops the start, with its number."""
        with self.assertRaises(SystemExit) as caught:
            self.make_world(extension("101", 'forward_busy = "101"'))
        self.assertIn("101 to itself", str(caught.exception))
