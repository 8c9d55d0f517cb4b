"""Steering a pipeline of no known family by what its denoisers hear."""
