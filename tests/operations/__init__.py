"""Tests of `pbx.operations`."""
