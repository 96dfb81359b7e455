"""
Real programs against the real server process on loopback: few tests, real sockets, real time.

Each tool that is missing skips its tests, or fails them when ``PBX_INTEROP=required`` is in the environment.
"""
