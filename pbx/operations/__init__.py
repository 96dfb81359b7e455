"""
What can be asked of an exchange that runs: each operation is written once, and stands behind the shell and behind HTTP.

An operation is a function with a name, typed parameters, a docstring that is its help, and an answer that prints as text and
has ``.json()`` (`pbx.operations.answers`). Those of the exchange are in `pbx.operations.core`; plugins add theirs
through `pbx.interfaces.IShellCommands`.
"""
