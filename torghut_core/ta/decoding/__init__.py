"""Records and lines to columns. Knows no window and no output; nothing here raises for bad input."""
