"""Speed and memory beside peers, measured in one run on the machine at hand. Ratios are what counts, not rates."""
