"""What was run, what came out of it, and the code of the experiments that are more than a recipe."""
