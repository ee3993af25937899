"""Everything that reads: Kubernetes, service HTTP, ClickHouse, git, and the bundle on disk. May not judge."""
