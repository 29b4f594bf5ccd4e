"""A scripted upstream registry that misbehaves on demand, for tests and rehearsals."""
