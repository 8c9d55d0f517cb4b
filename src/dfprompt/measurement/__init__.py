"""Measuring: the same prompt plain and changed, drawn on the same noise, scored, saved and written down."""
