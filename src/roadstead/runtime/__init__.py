"""The composition root: builds everything from the settings, runs it, closes it in reverse.

The only package that knows all concrete classes.
"""

from roadstead.runtime.generations import serve
from roadstead.runtime.process import Running, running

__all__ = ["Running", "running", "serve"]
