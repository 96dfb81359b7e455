"""The torture messages of RFC 4475 and RFC 5118, octet for octet, and what must become of each."""
