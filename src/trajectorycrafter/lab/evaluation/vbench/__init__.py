"""VBench in seven dimensions: natively, by local networks, or by its own package."""
