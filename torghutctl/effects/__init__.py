"""Everything that writes: git, GitHub, the local forge, Argo CD, Kafka and ClickHouse administration, the audit log.

May not decide: what is written comes from a plan that passed its gates.
"""
