"""The frozen plan and its digest, the gates, and surgical YAML edits. May not know any procedure by name."""
