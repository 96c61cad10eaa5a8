"""What contradicts a trigger, or makes no sense as a condition, is refused when it is built."""

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace import triggers


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keep": "trigger"}, r"needs to know when: give trigger=jt.Trigger"),
        ({"trigger": jt.Trigger(triggers.nan)}, r"belongs to keep='trigger', found keep='best'"),
        ({"keep": {"trigger": 3}}, r"goes with no other policy"),
        ({"keep": "trigger", "trigger": triggers.nan}, r"expected a jt.Trigger, found NotANumber"),
        ({"keep": "trigger", "trigger": jt.Trigger(triggers.nan), "capacity": 9}, r"= 81 steps"),
        (
            {"keep": "trigger", "trigger": jt.Trigger(triggers.nan), "level": "minimal"},
            r"found level='minimal'",
        ),
        (
            {"keep": "trigger", "trigger": jt.Trigger(triggers.nan), "record": "actions"},
            r"found record='actions'",
        ),
        ({"keep": "trigger", "trigger": jt.Trigger(triggers.nan), "slots": 3}, r"takes no slots"),
    ],
)
def test_what_contradicts_a_trigger_is_refused(fields, message):
    with pytest.raises(jt.SpecError, match=message):
        jt.TraceSpec(**fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jt.Trigger(3), "expected a condition of jt.triggers"),
        (
            lambda: jt.Trigger(triggers.nan, before=-1),
            "before: expected a whole number of at least 0",
        ),
        (lambda: jt.Trigger(triggers.nan, after=1.5), "after: expected a whole number"),
        (lambda: jt.Trigger(triggers.nan | triggers.nan), "of different names, found"),
        (triggers.reward_spike, "expected one of times= and above="),
        (lambda: triggers.reward_spike(2.0, above=1.0), "expected one of times= and above="),
        (lambda: triggers.reward_spike(above=np.nan), "above: expected a number >= 0"),
        (lambda: triggers.reward_spike(1.0, warmup=0), "warmup: expected a whole number"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(make, message):
    with pytest.raises(jt.SpecError, match=message):
        make()
