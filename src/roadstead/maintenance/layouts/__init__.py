"""Held images as OCI image layouts, out of the store and into it."""
