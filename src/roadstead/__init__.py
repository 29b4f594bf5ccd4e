"""Roadstead: a read-only mirror and pull-through cache for container registries."""

from importlib.metadata import version

__version__ = version("roadstead")
