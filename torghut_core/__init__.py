"""The data plane: ingest, technical analysis, trading, visuals and the engines under them.

May not import `torghutctl`. Its rooms (`ingest`, `ta`, `trading`, `visuals`) never import each other; what two of them
need stands here at the top. A core module reads neither `os.environ` nor the clock: both are arguments.
"""
