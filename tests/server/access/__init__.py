"""Tests of who may pull what."""
