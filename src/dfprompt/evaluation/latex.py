"""The table of an evaluation for a paper: methods as rows, scores as columns, LaTeX with booktabs."""

from __future__ import annotations

from dfprompt.evaluation.summary import ScoreLine, Summary
from dfprompt.excerpt import printable
from dfprompt.table import format_number

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_"},
}


def escape_latex(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    >>> print(escape_latex("a_b 100% {x}"))
    a\_b 100\% \{x\}
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in printable(" ".join(text.split())))


def format_latex(summary: Summary) -> str:
    """Return a tabular of means, differences to plain and 95 % intervals, without parts of composites."""
    scores = list(dict.fromkeys(line.score for line in summary.scores if line.role != "part"))
    heads = " & ".join(escape_latex(score) for score in scores)
    lines = [
        "% needs \\usepackage{booktabs}; difference to plain with its 95 % interval over prompts",
        f"\\begin{{tabular}}{{l{'r' * len(scores)}r}}",
        "\\toprule",
        f"method & {heads} & pictures \\\\",
        "\\midrule",
    ]
    for method in summary.methods:
        cells = " & ".join(_cell(summary.of(method.method, score)) for score in scores)
        lines.append(f"{escape_latex(method.method)} & {cells} & {method.pictures} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _cell(line: ScoreLine) -> str:
    if line.mean is None:
        return "--"
    found = line.comparison
    if found is None:
        return f"${format_number(line.mean)}$"
    if not found.bounded:
        return f"${format_number(found.difference, sign=True)}$"
    low, high = (format_number(end, sign=True) for end in found.interval)
    return f"${format_number(found.difference, sign=True)}$ [${low}$, ${high}$]"
