"""Tests of whole calls, in virtual time."""
