"""Where versions, evidence and channels live: a write-once store with records on top."""
