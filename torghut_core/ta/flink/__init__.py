"""The TA on Apache Flink: the engine of one partition number, as it is, in a keyed operator of PyFlink.

    Kafka source (JVM) → record blocks (JVM) → by partition number → engine (Python) → row blocks → Kafka sink (JVM)
                                                                        └→ ClickHouse

Windows are kept by the engine, keyed by partition number, not by Flink's watermarks: lateness is judged by the trades of one
partition in offset order, while a subtask's watermark is the minimum over whatever partitions it happens to read. Flink
gives distribution, checkpoints, restarts and rescaling; the arithmetic exists once. `graph` and `operator` need PyFlink,
which lives in an environment of its own (`make flink`); nothing else here does.
"""
