"""Tests: maintenance, layouts."""
