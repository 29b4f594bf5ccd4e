"""Retention and what an operator does by hand."""
