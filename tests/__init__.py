"""The test suite; its files mirror the modules of the package."""
