"""What goes wrong with a store."""


class StoreError(Exception):
    """The state folder cannot be read or written; the text says where, why and what to do."""
