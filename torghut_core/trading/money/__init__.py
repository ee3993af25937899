"""What the own orders came to: positions, profit, fees, equity. Pure: no clock, no engine, no broker.

Everything here is folded from stored order events and from what the account's own readings corrected, so it is the same
after a restart, in a backtest and live. `account.Account` is the fold, `statement.make_statement` the tables and curves.
"""
