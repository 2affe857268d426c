"""Training: deterministic steps, exact resume, checkpoints."""
