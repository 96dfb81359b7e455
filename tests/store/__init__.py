"""Tests of `pbx.store`."""
