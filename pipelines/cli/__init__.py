"""The ``relrec`` command."""
