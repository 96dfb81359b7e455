"""Build time only: ships the top-level folder plugins/ as the package pbx.plugins."""

from setuptools.command.build_py import build_py as _build_py


class build_py(_build_py):  # the name is setuptools'
    """Finds ``pbx.plugins`` and what lies below it in ``plugins/``."""

    def get_package_dir(self, package: str) -> str:
        head, found, rest = (package + ".").partition("pbx.plugins.")
        if found and not head:
            return "/".join(["plugins", *rest.split(".")]).rstrip("/")
        return str(super().get_package_dir(package))
