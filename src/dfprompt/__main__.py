"""`python -m dfprompt` is the command line."""

from dfprompt.cli.main import main

main()
