"""`python -m torghutctl`."""

from torghutctl.cli import main

main()
