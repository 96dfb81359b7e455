"""
What tests of the exchange and of its plugins stand on: virtual time, a network in memory, phones.

Public: authors of plugins test with it.
"""
