"""The mini world: a text-to-image world small enough to live inside the package."""
