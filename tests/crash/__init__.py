"""Tests: the whole process is killed."""
