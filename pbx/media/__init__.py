"""Media through the exchange: ports, one loop over all of them, and the plane that joins two ends."""
