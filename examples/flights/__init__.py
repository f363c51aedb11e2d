"""Will this flight arrive more than 15 minutes late?  An example model to copy."""
