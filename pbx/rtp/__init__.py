"""RTP as the RFCs have it: headers, acceptance and counting, digits, RTCP. Pure: the standard library only, time is handed in."""
