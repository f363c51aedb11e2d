"""Where versions, evidence and channels live: records over a write-once store."""
