"""The outbound half: one upstream registry, its authentication and its manners."""
