"""Who says what: statements, the signed envelopes around them, and whom to believe."""
