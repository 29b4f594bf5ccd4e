"""Work off the request path: what is kept, what goes, and who says so."""
