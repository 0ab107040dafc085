"""A miniature of all 17 datasets, drawn by programs: for trying things out, never for comparing methods in earnest."""
