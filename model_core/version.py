"""The one place that holds the version of relrec."""

__version__ = "0.1.0"
