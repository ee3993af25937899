"""What a record is to the scan."""

UNUSUAL, TRADE, QUOTE = 0, 1, 2
"""The first is left to the parser."""
ANY = 0
"""Asks for trades and quotes, as messages or envelopes, told apart by `T` or `channel`."""
