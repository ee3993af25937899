"""What trading reads: signals and prices from ClickHouse, and the symbols that may be traded. May not decide."""
