"""What a call is: legs, routing, dialling, bridging. No sockets, no reactor."""
