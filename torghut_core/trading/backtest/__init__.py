"""The trading loop over recorded rows: the same handler, gates, stores and order path, a clock and an exchange of its own.

Nothing here polls, sleeps or calls a broker; nothing live is touched. What it knows of bars and quotes is given to it.
"""
