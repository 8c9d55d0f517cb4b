"""`python -m worlds.mini`, from the top of a checkout."""

from dfprompt.cli.main import run
from worlds.mini.cli import app

if __name__ == "__main__":
    run(app)
