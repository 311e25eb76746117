"""The dual-stream diffusion model: its transformer, its conditions, its pipeline, its weights."""
