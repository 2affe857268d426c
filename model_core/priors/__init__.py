"""Pair priors: what counting already says about a user and an item, as model inputs."""
