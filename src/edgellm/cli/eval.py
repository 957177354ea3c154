from __future__ import annotations

from edgellm.cli.eval_aggregate import eval_aggregate
from edgellm.cli.eval_calibrate_judge import eval_calibrate_judge
from edgellm.cli.eval_ladder import eval_ladder
from edgellm.cli.eval_lint import eval_lint
from edgellm.cli.eval_pairwise import eval_pairwise
from edgellm.cli.eval_run import eval_run
from edgellm.cli.eval_score import eval_score
from edgellm.cli.verb import VerbGroup

VERBS = [eval_run, eval_score, eval_aggregate, eval_ladder, eval_pairwise, eval_calibrate_judge, eval_lint]

eval = VerbGroup("eval", VERBS, "How good a model is, and how much a quantization took away.")
