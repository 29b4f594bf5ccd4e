"""Roadstead: a read-only mirror and pull-through cache for container registries."""

# Here, and not asked of the installed package's metadata, which takes longer than a start should.
__version__ = "0.1.0"
