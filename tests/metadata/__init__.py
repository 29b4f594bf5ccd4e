"""Tests: metadata."""
