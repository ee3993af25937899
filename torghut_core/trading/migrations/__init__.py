"""The PostgreSQL schema's versions, plain SQL under Alembic. May not know any query of the runtime."""
