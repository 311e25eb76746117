"""Every settings dataclass and preset, torch-free."""
