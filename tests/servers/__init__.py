"""Whole servers beside each other: Roadstead and registry 2.8.2."""
