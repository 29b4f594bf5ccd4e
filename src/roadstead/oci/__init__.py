"""The nouns of the OCI specifications, as values: pure, standard library only.

Text from outside becomes one of these types once, at the boundary; the rest of the program
never splits a string to learn what it means.
"""
