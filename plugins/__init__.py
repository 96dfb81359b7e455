"""The services of the exchange, one file each; further folders, and other distributions, can add to this package."""

from twisted.plugin import pluginPackagePaths

# Every entry of sys.path that has a folder pbx/plugins without __init__.py contributes its modules.
__path__.extend(pluginPackagePaths(__name__))  # type: ignore[no-untyped-call]  # Twisted has no types there
__all__: list[str] = []
