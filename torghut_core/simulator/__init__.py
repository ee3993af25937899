"""A market and an Alpaca-compatible server over it, for the demo, tests and development without an account.

Runs as its own process (`python -m torghut_core.simulator`). It knows only the core's top modules, and no runtime may
import it: what a runtime sees of it goes through a socket, as it would with the real provider.
"""
