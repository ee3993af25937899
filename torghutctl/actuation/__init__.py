"""Carries a procedure through: read, plan, gates, effect, follow. May not know what a procedure changes, or print."""
