"""Clips in memory and in files: reading, writing, pictures."""
