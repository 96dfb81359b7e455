"""Tests of the exchange, laid out as the packages are."""
