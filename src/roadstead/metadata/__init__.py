"""What the layout cannot say: who needs what, when it was last pulled, what is pinned."""
