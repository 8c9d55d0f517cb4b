"""A blinded comparison by people: plan, answers, report."""
