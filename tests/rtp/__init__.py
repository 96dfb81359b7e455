"""RTP without sockets and without a clock."""
