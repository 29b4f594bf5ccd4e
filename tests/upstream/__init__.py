"""Tests: the outbound half."""
