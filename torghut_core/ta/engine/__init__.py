"""Columns in, blocks of rows out: windows, quotes, indicators. Pure: no I/O, no clock."""
