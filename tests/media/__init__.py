"""The media plane, in virtual time and, in `test_sockets`, on loopback."""
