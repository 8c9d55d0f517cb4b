"""One frozen request per command: what is asked for, in names and numbers, checked when it is made.

Command line options, Python keywords, recipes and the settings page are made from the fields here. Imports
pydantic and the language alone, so that a mistake is named before any model library is loaded.
"""
