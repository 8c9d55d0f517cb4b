"""What numbers say: one interval of a mean, one comparison of paired scores, one shape of it as JSON."""
