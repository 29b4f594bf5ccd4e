"""The servers that are compared: one module for each family."""
