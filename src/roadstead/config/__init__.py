"""The configuration: distribution's schema and ours, read from file and environment."""
