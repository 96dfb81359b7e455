"""Generated passwords and keys."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pbx.store import Secrets, StoreError


class SecretsTests(SynchronousTestCase):
    """One file a secret, for nobody else to read."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "var"
        self.secrets = Secrets(self.folder)

    def test_password(self) -> None:
        """Made once, and the same ever after."""
        password, is_new = self.secrets.password("extensions/100")
        self.assertTrue(is_new)
        self.assertEqual(len(password), 20)
        self.assertEqual(Secrets(self.folder).password("extensions/100"), (password, False))

    def test_different(self) -> None:
        """No two are alike."""
        self.assertEqual(len({self.secrets.password(f"extensions/{number}")[0] for number in range(50)}), 50)

    def test_modes(self) -> None:
        """Files 0600, folders 0700, whatever the umask."""
        self.secrets.password("extensions/100")
        file = self.folder / "secrets" / "extensions" / "100"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        for folder in (file.parent, file.parent.parent, self.folder):
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)

    def test_opened_to_others(self) -> None:
        """A copy that has opened a file to others is closed again."""
        self.secrets.password("a")
        file = self.secrets.path("a")
        file.chmod(0o644)
        self.secrets.password("a")
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    def test_empty(self) -> None:
        """A file that a full disk has left empty counts as none."""
        self.secrets.password("a")
        self.secrets.path("a").write_text("")
        self.assertTrue(self.secrets.password("a")[1])

    def test_key(self) -> None:
        """32 octets, kept."""
        key = self.secrets.key("nonce")
        self.assertEqual(len(key), 32)
        self.assertEqual(Secrets(self.folder).key("nonce"), key)

    def test_key_that_is_none(self) -> None:
        """A file that holds something else: which, and what to do."""
        self.secrets.key("nonce")
        self.secrets.path("nonce").write_text("hello")
        self.assertIn("is not a key of ours; take the file away", str(self.assertRaises(StoreError, self.secrets.key, "nonce")))

    def test_names(self) -> None:
        """A name never leads out of the folder."""
        for name in ("", "..", "a/../b", "/etc/passwd", "a//b", ".hidden", "a\x00b", "a b"):
            self.assertRaises(ValueError, self.secrets.path, name)

    def test_star_codes(self) -> None:
        """Numbers with ``*`` and ``+`` have secrets too."""
        self.assertTrue(self.secrets.password("extensions/*90")[1])
        self.assertTrue(self.secrets.password("extensions/+4930123")[1])

    def test_cannot_be_written(self) -> None:
        """Where, why, what to do."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.write_text("")
        self.assertIn("see to its permissions", str(self.assertRaises(StoreError, self.secrets.password, "a")))

    def test_no_room(self) -> None:
        """A folder stands where the new file would: nothing half done is left in the place of the secret."""
        self.secrets.password("b")
        (self.folder / "secrets" / ".a.new").mkdir()
        self.assertIn("cannot be written", str(self.assertRaises(StoreError, self.secrets.password, "a")))
        self.assertFalse(self.secrets.path("a").exists())
