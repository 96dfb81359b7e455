"""Tests of the SIP core: values in, values out, no clock."""
