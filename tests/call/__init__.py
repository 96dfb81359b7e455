"""Tests of `pbx.call`."""
