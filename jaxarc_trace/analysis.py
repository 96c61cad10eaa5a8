"""What can be learned from episodes: all of it under one name.

`moments` finds the steps worth looking at, `failures` names what went wrong, `facts` gives the
numbers of an episode, `comparison` sets two episodes or two runs beside each other, `statistics`
sums many up, and `clicks` maps where agents act.
"""

from jaxarc_trace.clicks import Clicks, clicks
from jaxarc_trace.comparison import Comparison, RunComparison, compare, compare_runs
from jaxarc_trace.facts import FACTS, facts, measured
from jaxarc_trace.failures import MODES, Failure, failure_modes
from jaxarc_trace.moments import (
    KeyMoment,
    key_moments,
    no_ops,
    operation_kinds,
    revisits,
    role,
    scores,
)
from jaxarc_trace.statistics import Interval, Summary, interval, summarise

__all__ = [
    "FACTS",
    "MODES",
    "Clicks",
    "Comparison",
    "Failure",
    "Interval",
    "KeyMoment",
    "RunComparison",
    "Summary",
    "clicks",
    "compare",
    "compare_runs",
    "facts",
    "failure_modes",
    "interval",
    "key_moments",
    "measured",
    "no_ops",
    "operation_kinds",
    "revisits",
    "role",
    "scores",
    "summarise",
]
