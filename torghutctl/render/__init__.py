"""Table, markdown, JSON and YAML output, and the redactor that every output passes. May not query anything."""
