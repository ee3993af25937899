"""The way to the broker and back: one call for an order, what became of it, and what is folded from that."""
