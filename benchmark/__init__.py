"""Everything but the methods, in rooms; docs/architecture.md lists them and where to add what."""
