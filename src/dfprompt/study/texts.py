"""The texts that a plan writes: a draft of the consent, and the registration of what will be analysed."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from dfprompt.study.plan import PREFER, SHOWS, StudyPlan

TO_FILL = "[FILL IN"
"""What stands in a draft where the researcher has to write."""

CONSENT_DRAFT = f"""\
# What you are asked

You will see pairs of pictures that a computer drew from a line of text. For each pair you say which one shows
what was asked, and which you like more. "No difference" is an answer too.

- Who does this: {TO_FILL}: name, institution, address for questions]
- What for: {TO_FILL}: one or two sentences that do not say what is compared]
- How long it takes: {TO_FILL}: minutes], and what you get for it: {TO_FILL}: payment, or nothing]
- Who may take part: {TO_FILL}: age and language]
- What is stored: your answers, the seconds each one took, what you choose to say of yourself, and the day. No
  name, no network address, nothing about your device. An id of a platform that sent you is stored only as a
  hash with a key that is deleted.
- Until when: {TO_FILL}: the date the plan names]
- You may stop at any time. To have your answers deleted, send the code that the last page shows to
  {TO_FILL}: address].
- Approved by: {TO_FILL}: ethics board and number, or why none is needed]
- Some pictures may be {TO_FILL}: what could disturb somebody, or "of nothing that disturbs"].
"""

_REGISTRATION = Template("""\
# Registration of a study

Written by `dfprompt study plan` before the first answer. Plan: SHA-256 $digest.

- **Question.** $methods methods of drawing pictures from text are compared by people. Names of the methods:
  $fill: they are sealed in the folder]. Hypothesis: $fill].
- **Design.** $pairs pairs of pictures for $prompts prompts, both of a pair drawn from the same seed;
  $participants people see $per_participant pairs each, in an order and with sides balanced within one per
  person and per pair; $practice for practice, $repeats again with sides swapped, $gold controls. Neither
  people nor pages know which method drew what.
- **Questions.** 1 (what was asked): "$shows" 2 (liking): "$prefer" Answers: left, right, no difference.
- **Outcome.** The share of answers for a method, draws counted half, per question and pair of methods; the
  second question is primary, the first is reported beside it. Practice, repeats and controls do not count.
- **Analysis.** 95 % intervals over people and prompts together (two-way cluster variance, Wilson's form,
  Student's quantile of the fewer). A difference is one whose interval leaves out 50 %.$several Sign tests by
  person and by prompt stand beside it. Draws are reported apart. Subgroups (age, country, experience; ten
  people or more) are described, not tested.
- **Exclusion.** The first analysis is of everybody; in the second, $exclusion.
- **Size.** $power
- **Stop.** When $participants people have finished. Which method an answer was for is not looked at before.
- **Data.** Kept until $retain_until; no names, addresses or devices.
""")
_SEVERAL = " Intervals are not corrected for their number; the methods are ordered by a Davidson model."


def write_registration(plan: StudyPlan, digest: str) -> str:
    """Return the text of a registration; it names no method, for the folder must not."""
    values: Mapping[str, object] = {
        **{field: getattr(plan, field) for field in StudyPlan.model_fields},
        "digest": digest,
        "fill": TO_FILL,
        "shows": plan.questions[SHOWS],
        "prefer": plan.questions[PREFER],
        "exclusion": plan.exclusion.sentence(),
        "several": _SEVERAL if plan.methods > 2 else "",
    }
    return _REGISTRATION.substitute(values)
