"""Whole experiments: many trainings and one evaluation, each from one command."""
