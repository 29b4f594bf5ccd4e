"""The policy: what is fresh, what is fetched, and how one fetch serves any number of readers."""
