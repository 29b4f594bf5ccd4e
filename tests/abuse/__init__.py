"""The mirror under clients that mean no good."""
