"""`dfprompt study serve` and `study simulate`: people take part in a study, or simulated ones do."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import typer

from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import InputError
from dfprompt.requests.participants import ServeStudyRequest, SimulateStudyRequest

if TYPE_CHECKING:
    from dfprompt.web.hosting import Hosted


def register(app: typer.Typer) -> None:
    """Put the commands on the group."""
    app.command("serve")(serve)
    app.command("simulate")(simulate)


@takes(ServeStudyRequest)
def serve(request: ServeStudyRequest, as_json: bool = JSON) -> None:
    """Show a study to people: consent, practice, pairs, the end; no address and no browser is kept.

    It goes on where it was when it is started again. Ctrl-C ends it; every answer is on the disk by then.

    \b
    Examples:
      dfprompt study serve my-study --rehearsal
      dfprompt study serve my-study --listen 0.0.0.0 --links links.txt
      dfprompt study serve my-study --listen 127.0.0.1 --address https://study.example.org --platform prolific
        --completion "https://app.prolific.com/submissions/complete?cc=C1A2B3C4"
    """
    _check_web()
    from dfprompt.web.hosting import serve_study

    def tell(hosted: Hosted) -> None:
        if as_json:
            console.write_json(hosted.to_json())
        else:
            console.write(_describe(hosted, request))

    serve_study(request, tell, console.note)


@takes(SimulateStudyRequest)
def simulate(request: SimulateStudyRequest, as_json: bool = JSON) -> None:
    """Rehearse a study: simulated people with a known preference take part through its real pages.

    They are written down as simulated, and a report says so. The same command goes on after a stop.

    \b
    Examples:
      dfprompt study simulate rehearsal --preference 0.56
      dfprompt study simulate rehearsal --preference 0.6 --draws 0.2 --side-bias 0.3 --random 0.1
    """
    _check_web()
    from dfprompt.web.hosting import simulate_study

    done = simulate_study(request, console.note)
    if as_json:
        console.write_json(done.to_json())
        return
    again = f", {done.sent_again:,} requests sent again" if done.sent_again else ""
    console.write(
        f"{done.participants:,} simulated people took part: {done.answers:,} answers kept now{again}"
    )


def _check_web() -> None:
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise InputError(f"a study's pages need {' and '.join(missing)}: pip install 'dfprompt[studio]'")


def _describe(hosted: Hosted, request: ServeStudyRequest) -> str:
    lines = [
        f"study: {hosted.address}",
        f"{hosted.begun} of {hosted.planned} people have begun"
        + ("; whoever comes now is written down as simulated" if request.rehearsal else ""),
    ]
    if hosted.platform is not None:
        lines.append(f"for the platform: {hosted.platform}")
    if request.links is not None:
        lines.append(f"written: {request.links}, {len(hosted.links)} personal links; each lets one person in")
    elif hosted.platform is None:
        lines.append(
            f"the first personal link: {hosted.links[0]} (--links FILE writes all {len(hosted.links)})"
        )
    if hosted.address.startswith("http:") and request.listen is not None:
        lines.append(
            "nothing is encrypted: for people outside a network you trust, put it behind a proxy with "
            "https and name that with --address"
        )
    return "\n".join(lines)
