"""What the SIP RFCs say: messages, transactions, dialogs. The standard library only; no sockets, no clock, no randomness, no logging."""
