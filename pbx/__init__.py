"""A telephone exchange in one Twisted process: SIP in, SIP out, media through the middle, every service a plugin."""

from pathlib import Path

__version__ = "0.1.0"

# In a source tree (a clone, an editable install) the top-level folder plugins/ is the package pbx.plugins.
# Nothing of Twisted may be imported here: setuptools imports this package while it builds.
_root = Path(__file__).resolve().parent.parent
if not (_root / "pbx" / "plugins").is_dir() and (_root / "setup.cfg").is_file():
    __path__.append(str(_root))
