"""The TA on Apache Flink: the engine of one partition number, as it is, in a keyed operator of PyFlink.

    Kafka source (JVM) → record blocks (JVM) → by partition number → engine (Python) → row blocks → Kafka sink (JVM)
                                                                        └→ ClickHouse

Windows are kept by the engine, keyed by partition number, not by Flink's watermarks: lateness is judged by the trades of one
partition in offset order, while a subtask's watermark is the minimum over whatever partitions it happens to read. Flink
gives distribution, checkpoints, restarts and rescaling; the arithmetic exists once. `job` and `operator` need PyFlink, which
lives in an environment of its own (`make flink`); nothing else here does.
"""

import builtins

# A worker of PyFlink puts a `print` of its own in place of Python's, which numba looks for by name when it is imported.
_own_print = getattr(getattr(builtins.print, "__self__", None), "_print", None)
if _own_print is not None:
    builtins.print = _own_print
