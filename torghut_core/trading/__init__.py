"""Turns signals into gated paper orders, one leader at a time. May not import ingest or ta.

The way through: `loop` polls, `signals` reads ClickHouse, `strategies` propose, `store` persists before anything else,
`sizing` and `risk` judge, `review` may veto, `execution` claims on the leader's connection and calls the broker once,
`reconcile` finds out what became of it, `api` shows it, `service` ties the process together.
"""
