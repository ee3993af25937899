"""One file per procedure: `SPEC`, `plan`, `verify`, `rollback`. No I/O, no questions, no printing."""
