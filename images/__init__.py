"""Building, checking and pushing the container images of the steps."""
