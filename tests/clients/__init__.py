"""Tests: pulls with real container clients."""
