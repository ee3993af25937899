"""The forwarder: one Alpaca market-data WebSocket to envelopes on Kafka, keyed by symbol.

    protocol (pure) ← session (socket) → dedup → publisher (Kafka);  universe, readiness and service around them

May not import ta or trading. One active forwarder per account: a second connection gets 406.
"""
