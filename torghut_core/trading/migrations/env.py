"""Alembic's entry: applies the versions on the connection that `store.schema` hands over."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="torghut_schema_version", transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
