"""Many logical dates, one run each: what a model would have been on every day."""
