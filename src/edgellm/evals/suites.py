"""The suites by the names under which users ask for them."""

from __future__ import annotations

from importlib import import_module

from edgellm.errors import UsageError
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Suite

# Module and class: a suite is imported when it is asked for.
SUITES = {
    "mt-bench-ja": ("edgellm.evals.mt_bench_ja.suite", "MtBenchJa"),
    "judge-free": ("edgellm.evals.mt_bench_ja.judge_free", "JudgeFree"),
    "ifeval-ja": ("edgellm.evals.ifeval_ja.suite", "IfevalJa"),
    "choice": ("edgellm.evals.choice.suite", "Choice"),
    "exam": ("edgellm.evals.choice.exam", "Exam"),
    "long-ja": ("edgellm.evals.long_ja.suite", "LongJa"),
    "register": ("edgellm.evals.register_ja.suite", "RegisterJa"),
}


def make_suite(name: str, options: SuiteOptions) -> Suite:
    """The suite of this name, ready to run; raises UsageError for a name that there is not, and whatever the suite
    raises for options that it does not take and files that it cannot read."""
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}; take one of {', '.join(SUITES)}")
    module, kind = SUITES[name]
    suite: Suite = getattr(import_module(module), kind)(options)
    return suite
