"""Tests: the scripted registry."""
