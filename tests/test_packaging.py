"""
The four ways of running: a clean clone, an editable install, a wheel, and a drop-in folder beside any of them.

They build and install, so they take a minute: only with ``PBX_PACKAGING=1``, as ``make test`` has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "etc" / "pbx.toml"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "var", "_trial_temp*", "*.egg-info", "__pycache__", ".mypy_cache", ".ruff_cache"
)

TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"

DROP_IN = """
from pbx.api import Plugin, Settings, setting

class NightSettings(Settings):
    number: str = setting("200", "the number that has a night service")

class Night:
    def __init__(self, settings, pbx):
        self.settings = settings

plugin = Plugin("night", NightSettings, Night)
"""


class PackagingCase(SynchronousTestCase):
    """Runs programs in folders of their own."""

    if os.environ.get("PBX_PACKAGING") != "1":
        skip = "builds and installs: set PBX_PACKAGING=1"

    def folder(self) -> Path:
        path = Path(self.mktemp()).resolve()
        path.mkdir(mode=0o755)
        return path

    def clone(self) -> Path:
        """The source tree as a clone has it."""
        path = Path(self.mktemp()).resolve()
        shutil.copytree(ROOT, path, ignore=LEFT_OUT)
        return path

    def run_(self, *command: str | Path, cwd: Path, status: int = 0, **environment: Any) -> str:
        """What a program says; its exit status must be ``status``."""
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COVERAGE_PROCESS_START")}
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        self.assertEqual(ran.returncode, status, f"{command}: {ran.stdout}")
        return ran.stdout

    def environment(self) -> Path:
        """
        A virtual environment that has the dependencies of this one and no exchange; its ``python``.

        The dependencies are seen through a ``.pth`` file, so that nothing is fetched. What is installed editable here is not.
        """
        folder = self.folder() / "venv"
        self.run_(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        python = folder / "bin" / "python"
        own = self.run_(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
        theirs = [entry for entry in sys.path if entry.endswith("site-packages")]
        # Under their own names: a folder in a .pth does not have its .pth files read, ours among them.
        (Path(own) / "dependencies.pth").write_text("".join(f"{entry}\n" for entry in theirs))
        return python

    def install(self, python: Path, *what: str | Path) -> None:
        own: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
        self.run_(*own, "install", "--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall", *what, cwd=python.parent)

    def checks(self, python: Path, cwd: Path, **environment: Any) -> str:
        """``twistd pbx --check`` with the shipped file."""
        said = self.run_(python, "-c", TWISTD, "--nodaemon", "pbx", "--check", "--config", SHIPPED, cwd=cwd, **environment)
        self.assertIn("in order; plugins: ", said)
        self.assertIn("extensions", said)
        return said


class CloneTests(PackagingCase):
    """Nothing is installed."""

    def test_twistd(self) -> None:
        """A clean clone runs with ``PYTHONPATH=.``; no bytecode of plugins gets in the way."""
        clone = self.clone()
        said = self.checks(self.environment(), clone, PYTHONPATH=str(clone))
        self.assertIn("in order", said)

    def test_where_the_plugins_are(self) -> None:
        """``pbx.plugins`` is the top-level folder."""
        clone = self.clone()
        said = self.run_(self.environment(), "-c", "import pbx.plugins; print(pbx.plugins.__file__)", cwd=clone, PYTHONPATH=str(clone))
        self.assertEqual(said.strip(), str(clone / "plugins" / "__init__.py"))

    def test_a_new_file_in_plugins(self) -> None:
        """A file put into ``plugins/`` is there at the next start."""
        clone = self.clone()
        (clone / "plugins" / "night.py").write_text(DROP_IN)
        self.assertIn("night", self.checks(self.environment(), clone, PYTHONPATH=str(clone)))


class EditableTests(PackagingCase):
    """``pip install -e .``"""

    def test_from_any_folder(self) -> None:
        """twistd knows ``pbx`` in any folder, and a new file in ``plugins/`` needs no reinstall."""
        clone, python = self.clone(), self.environment()
        self.install(python, "--editable", clone)
        self.checks(python, self.folder())
        (clone / "plugins" / "night.py").write_text(DROP_IN)
        self.assertIn("night", self.checks(python, self.folder()))


class WheelTests(PackagingCase):
    """``pip install .``"""

    def wheel(self) -> Path:
        folder = self.folder()
        build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        self.run_(*build, "--wheel-dir", folder, self.clone(), cwd=folder)
        return next(folder.glob("pbx-*.whl"))

    def test_installed(self) -> None:
        """The wheel runs, with the plugins and the store's migrations in it, from any folder."""
        python = self.environment()
        self.install(python, self.wheel())
        self.checks(python, self.folder())
        said = self.run_(python, "-c", "import pbx.plugins, pbx; print(pbx.plugins.__file__)", cwd=self.folder())
        self.assertTrue(said.strip().endswith("site-packages/pbx/plugins/__init__.py"), said)
        code = "from pbx.store.database import migrations; print(len(list(migrations())))"
        self.assertGreater(int(self.run_(python, "-c", code, cwd=self.folder())), 0)

    def test_third_party(self) -> None:
        """A file that another distribution has put into ``pbx/plugins`` of a folder on the path is found."""
        python = self.environment()
        self.install(python, self.wheel())
        other = self.folder()
        (other / "pbx" / "plugins").mkdir(parents=True)
        (other / "pbx" / "plugins" / "night.py").write_text(DROP_IN)
        self.assertIn("night", self.checks(python, self.folder(), PYTHONPATH=str(other)))

    def test_content(self) -> None:
        """Everything of ``pbx`` and ``plugins`` is in the wheel, and nothing of the tests."""
        names = set(zipfile.ZipFile(self.wheel()).namelist())
        for file in (*(ROOT / "pbx").rglob("*"), *(ROOT / "plugins").rglob("*.py")):
            if file.suffix in (".py", ".sql", ".typed") and "__pycache__" not in file.parts:
                inside = str(file.relative_to(ROOT))
                self.assertIn(f"pbx/{inside}" if inside.startswith("plugins/") else inside, names)
        self.assertIn("twisted/plugins/pbx_plugin.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        self.assertEqual([name for name in names if name.startswith("tests/")], [])

    def test_source_distribution(self) -> None:
        """A wheel made from the sdist has the same files as one made from the tree."""
        clone, folder = self.clone(), self.folder()
        code = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))"
        self.run_(sys.executable, "-c", code.format(str(folder)), cwd=clone)
        shutil.unpack_archive(next(folder.glob("pbx-*.tar.gz")), folder)
        tree = next(entry for entry in folder.iterdir() if entry.is_dir())
        build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        self.run_(*build, "--wheel-dir", folder, tree, cwd=folder)
        made_again = set(zipfile.ZipFile(next(folder.glob("pbx-*.whl"))).namelist())
        self.assertEqual(made_again, set(zipfile.ZipFile(self.wheel()).namelist()))


class DropInTests(PackagingCase):
    """A folder named by ``[plugins] path``."""

    def test_beside_a_wheel_or_a_clone(self) -> None:
        """Its plugins run, its table is understood, and nothing is written there."""
        clone, folder, drop_in = self.clone(), self.folder(), self.folder()
        (drop_in / "night.py").write_text(DROP_IN)
        file = folder / "pbx.toml"
        file.write_text(f'[plugins]\npath = ["{drop_in}"]\n[night]\nnumber = "201"\n')
        said = self.run_(self.environment(), "-m", "twisted", "pbx", "--check", "--config", file, cwd=folder, PYTHONPATH=str(clone))
        self.assertIn("night", said)
        self.assertEqual([entry.name for entry in drop_in.iterdir()], ["night.py"])

    def test_broken(self) -> None:
        """A broken one stops the start, with a sentence and the exit status 1."""
        clone, folder, drop_in = self.clone(), self.folder(), self.folder()
        (drop_in / "night.py").write_text("import nothing_of_that_name\n")
        file = folder / "pbx.toml"
        file.write_text(f'[plugins]\npath = ["{drop_in}"]\n')
        said = self.run_(
            self.environment(), "-m", "twisted", "pbx", "--check", "--config", file, cwd=folder, status=1, PYTHONPATH=str(clone)
        )
        self.assertIn("cannot be imported: line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'", said)


class MakeTests(PackagingCase):
    """The Makefile's refusals; what it makes is what these tests run in."""

    def make(self, *programs: str) -> tuple[Path, dict[str, str]]:
        """A clone, and a PATH with the named programs and what a shell needs."""
        clone, path = self.clone(), self.folder()
        for name in ("sh", "touch", "env", *programs):
            found = shutil.which(name)
            if found is not None:
                (path / name).symlink_to(found)
        return clone, {"PATH": str(path)}

    def fake(self, folder: str, name: str, text: str) -> None:
        file = Path(folder) / name
        file.write_text(text)
        file.chmod(0o755)

    def test_old_python(self) -> None:
        """An older Python is refused, with its version, and what to do."""
        make = shutil.which("make")
        assert make is not None
        clone, environment = self.make()
        self.fake(environment["PATH"], "python3", '#!/bin/sh\ncase "$2" in *print*) echo 3.9;; *) exit 1;; esac\n')
        said = self.run_(make, "run", cwd=clone, status=2, **environment)
        self.assertIn("pbx needs Python 3.11 or newer, and there is none:", said)
        self.assertIn("/python3 is 3.9;", said)

    def test_no_venv(self) -> None:
        """A Debian machine that lacks python3-venv is told the one command that brings it."""
        make = shutil.which("make")
        assert make is not None
        clone, environment = self.make()
        self.fake(environment["PATH"], "apt-get", "#!/bin/sh\n")
        fake = '#!/bin/sh\ncase "$2" in *print*) echo 3.12;; *ensurepip*) exit 1;; *) exit 0;; esac\n'
        self.fake(environment["PATH"], "python3", fake)
        said = self.run_(make, "test", cwd=clone, status=2, **environment)
        self.assertIn("cannot make virtual environments: sudo apt-get install -y python3.12-venv", said)
