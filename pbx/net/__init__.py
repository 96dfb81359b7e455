"""Sockets, timers, names: what joins the pure core of `pbx.sip` to a reactor, which is always handed in."""
