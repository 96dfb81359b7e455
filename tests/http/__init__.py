"""Tests of `pbx.http`."""
