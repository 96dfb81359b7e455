"""``make demo``: what somebody sees who has just cloned the project."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.tools import PROJECT, need, need_module, run


class DemoTests(SynchronousTestCase):
    """Two real phones, one call."""

    def test_demo(self) -> None:
        """Each hears the other, pictures arrive, and the ladder has the whole call, both legs."""
        need_module("baresip", "baresip-python")
        need("ssh", "openssh-client")
        said = run(sys.executable, "-m", "pbx.demo", "--seconds", "2", "--video", timeout=60.0, cwd=PROJECT)
        for hearing in ("100 hears 700 Hz at", "101 hears 440 Hz at", "pictures: "):
            self.assertIn(hearing, said)
        ladder = said.partition("exchange                 extension 101")[2]
        for step in ("INVITE (SDP)", "401 Unauthorized", "180 Ringing", "200 OK (SDP)", "ACK", "BYE", "200 OK (BYE)"):
            self.assertIn(step, ladder)
