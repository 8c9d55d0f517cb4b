"""`dfprompt restrain`: a policy's curves of restraint and of risk, measured and kept with it."""

from __future__ import annotations

import typer

from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.learn import RestrainRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("restrain")(restrain)


@takes(RestrainRequest)
def restrain(request: RestrainRequest, as_json: bool = JSON) -> None:
    """Measure how much of a policy's gain is kept as it appends less; `optimize --restraint` then reads it.

    With --risk: how well a probe picture tells rewrites that lose something; --max-risk then reads that.

    \b
    Examples:
      dfprompt restrain run/policy --output curve
      dfprompt optimize "a red cat on a hill" --policy run/policy --restraint 0.1
      dfprompt restrain run/policy --risk --output risk
      dfprompt compare "a red cat on a hill" --policy run/policy --max-risk 2%
    """
    (_risk if request.risk else _restraint)(request, as_json)


def _restraint(request: RestrainRequest, as_json: bool) -> None:
    from dfprompt.api.restraint import measure_restraint

    curve = measure_restraint(request)
    if as_json:
        found = {"restraint": curve.to_json(), "kept": curve.kept()}
        console.write_json({"policy": str(request.policy), **found})
        return
    console.write("end bias\tgain kept\treward\tfidelity\tleft alone")
    for point, kept in zip(curve.points, curve.kept(), strict=True):
        low, high = point.fidelity_interval
        console.write(
            f"{point.end_bias:g}\t{kept:.0%}\t{point.reward:+.3f}\t{point.fidelity:+.4f} "
            f"({low:+.4f} to {high:+.4f})\t{point.alone:.0%}"
        )


def _risk(request: RestrainRequest, as_json: bool) -> None:
    from dfprompt.api.restraint import measure_risk

    curve = measure_risk(request)
    if as_json:
        console.write_json({"policy": str(request.policy), "risk": curve.to_json()})
        return
    console.write(f"lost on the probe ({curve.judge})\taccepted\taccepted and lost, of {curve.total}")
    for threshold, accepted, lost in curve.points:
        console.write(f"{threshold:g}\t{accepted}\t{lost}")
    for limit in (0.01, 0.02, 0.05):
        found = curve.choose(limit)
        low, high = found.coverage_interval
        console.write(
            f"--max-risk {limit:.0%}: {found.coverage:.0%} rewritten ({low:.0%} to {high:.0%}), "
            + ("no threshold is safe" if found.threshold is None else f"bound {found.bound:.1%}")
        )
