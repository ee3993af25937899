"""An exchange and one account at it: orders, the rules they are filled by, cash and positions.

The simulator serves it over HTTP, the backtest and the dry run ask it in process: one book of rules for all three. It
knows no file, no socket and no clock but the one it is given.
"""
