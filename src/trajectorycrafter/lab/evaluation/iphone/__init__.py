"""The iPhone benchmark: layouts, protocols, scores."""
