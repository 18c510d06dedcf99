"""Media: one module a part."""
