"""
The shell: a Python prompt over SSH, for keys only and on loopback by default.

`pbx.shell.commands` says what can be done there, `pbx.shell.ssh` how one gets in.
"""

from pbx.shell.service import ShellService, ssh_command

__all__ = ["ShellService", "ssh_command"]
