"""What must outlive the process: bindings, call records, the plugins' own values, generated passwords and keys."""

from pbx.store.errors import StoreError
from pbx.store.secrets import Secrets
from pbx.store.sqlite import SqliteStore

__all__ = ["Secrets", "SqliteStore", "StoreError"]
