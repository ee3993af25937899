"""The data plane: ingest, technical analysis, trading, visuals and the engines under them.

May not import `torghutctl`. Its rooms (`ingest`, `ta`, `trading`, `visuals`) never import each other; what two of them
need stands here at the top. A core module reads neither `os.environ` nor the clock: both are arguments.
Only this file passes the environment on by itself, because a library reads it on import.
"""

import os
from pathlib import Path

from torghut_core import compile_cache

# Before anything imports numba, which reads the variable once.
compile_cache.place(os.environ, Path(__file__).parent)
