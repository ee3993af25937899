"""The whole system on this machine, in one process with embedded engines: `up`, and `demo` on a simulated market.

May not judge or plan: the demo's operator types the same commands as anyone.
"""
