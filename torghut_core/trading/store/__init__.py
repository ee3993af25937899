"""PostgreSQL: decisions, claims, executions, cursor, reviews. May not call a broker or judge a decision.

Calls block; the loop runs them in threads. No call leaves a transaction open.
"""
