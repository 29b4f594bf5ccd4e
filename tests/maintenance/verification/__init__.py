"""Tests: maintenance, verification."""
