"""Test-time search: the best words, ranges and weights for one prompt, by reward and without training."""
