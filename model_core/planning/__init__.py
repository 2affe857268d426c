"""What a run will cost, before it is started. Knows every step, imports no torch."""
