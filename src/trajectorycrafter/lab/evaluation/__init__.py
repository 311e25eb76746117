"""Scores of re-shot videos: metrics, benchmarks and reports."""
