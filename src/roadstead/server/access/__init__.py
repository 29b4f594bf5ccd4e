"""Who may pull what: networks, proofs of identity, and one pure policy that decides."""
