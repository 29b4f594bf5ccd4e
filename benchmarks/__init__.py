"""Roadstead measured beside its peers, on one machine, over loopback: see docs/performance.md."""
