"""Technical analysis: micro-bars and indicators from trades, quotes and minute bars.

    decode → engine (windows, quotes, indicators; pure, columnar) → rows → sinks (Kafka, ClickHouse)

The engine does no I/O and reads no clock. May not import ingest or trading.
"""
