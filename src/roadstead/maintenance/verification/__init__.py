"""Whether what is held is what it should be: hashing it again, and looking where links lead."""
