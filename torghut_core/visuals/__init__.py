"""What others look at: the symbol universe, the TA API with its page, and the ClickHouse guardrail gauges.

Reads ClickHouse, never writes it. May not import ingest, ta or trading.
"""
