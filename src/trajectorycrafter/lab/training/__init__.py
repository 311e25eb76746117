"""Training of the dual-stream model: two stages, ablations, LoRA and few-step distillation."""
