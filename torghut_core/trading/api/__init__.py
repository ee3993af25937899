"""The trading runtime's HTTP. Reads only."""
