"""`python -m benchmarks [--events N] [--repeats N]`: every benchmark, as markdown."""

from __future__ import annotations

import argparse
import os
import platform

from benchmarks import ta, trading


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="trades of the largest case (2,000,000)")
    parser.add_argument("--repeats", type=int, default=3, help="each case counts its best of so many (3)")
    chosen = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores; CPU seconds of one core.")
    print()
    for line in ta.run(chosen.events, chosen.repeats):
        print(line)
    print()
    for line in trading.run(chosen.repeats):
        print(line)


if __name__ == "__main__":
    main()
