"""The AI review and its policy: it may veto or shrink an entry, and nothing else."""
