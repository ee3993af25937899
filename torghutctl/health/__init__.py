"""Rules from facts to findings, one file per component, the cause graph and the report. No I/O, no clock."""
