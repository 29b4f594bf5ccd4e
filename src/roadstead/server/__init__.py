"""The inbound half: HTTP requests understood, responses rendered."""
