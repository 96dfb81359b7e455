"""Makes ``twistd pbx`` known to Twisted."""

from twisted.application.service import ServiceMaker

pbx = ServiceMaker("pbx", "pbx.tap", "A telephone exchange: SIP in, SIP out, media through the middle.", "pbx")
