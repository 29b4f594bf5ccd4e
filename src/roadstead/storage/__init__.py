"""Bytes by digest, and the links that say which repository may show them."""
