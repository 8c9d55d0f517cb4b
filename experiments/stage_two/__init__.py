"""Stage 2 as an experiment: many trainings and one evaluation, from `python -m experiments.stage_two`."""
