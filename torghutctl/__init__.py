"""The operations plane: reads the system, judges its health, plans changes and carries them out behind gates.

    snapshot (reads) → health (judges, pure) → report
    snapshot (reads) → procedures (plan, pure) → planning (gates) → effects (write)

Imports `torghut_core`, never the other way round. Each third-party client stands in one module of `adapters`.
"""
