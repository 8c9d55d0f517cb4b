"""`python -m experiments.stage_two`, from the top of a checkout."""

from dfprompt.cli.main import run
from experiments.stage_two.cli import app

if __name__ == "__main__":
    run(app)
