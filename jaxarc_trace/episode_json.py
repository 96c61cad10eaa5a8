"""An episode, a step, and two episodes beside each other as plain data, for `--json`.

The words and numbers are those of the pictures. Steps are counted as these count them: from 1,
with those that were not kept, so that `--step` takes each of them; step 0 is the start. Arrays
are left as they are: `commands_common.show_json` makes lists of them. Nothing is printed here.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from jaxarc_trace.analysis import compare, facts, failure_modes, key_moments, no_ops, role
from jaxarc_trace.episode import Episode
from jaxarc_trace.render.compare import first_divergence
from jaxarc_trace.render.facts import first_value, outcome_words, returns, task_id
from jaxarc_trace.render.frames import ArcFrames, frames

__all__ = ["comparison_facts", "episode_facts", "step_facts"]

# So many values of a field are told one by one; a whole observation is what `export` is for.
_FEW = 8
_COMPARED = ("length", "return", "score_final", "score_best", "no_ops")


def episode_facts(episode: Episode) -> dict[str, Any]:
    """Which episode it is, how it ended, what failed and when, and the task's own grids."""
    arc, known = frames(episode), facts(episode)
    return {
        "id": episode.id,
        "lane": episode.lane,
        "number": episode.number,
        "environment": episode.environment.get("name"),
        "task": _task(episode),
        "pair": first_value(episode, "pair_idx"),
        "outcome": episode.outcome,
        "success": episode.success,
        "complete": episode.complete,
        "length": episode.length,
        "dropped": episode.dropped,
        "return": episode.total_return,
        "score_final": known["score_final"],
        "score_best": known["score_best"],
        "no_ops": None if arc is None else int(no_ops(episode).sum()),
        "kept_by": episode.kept_by,
        "failures": [
            {
                "mode": one.mode,
                "label": one.label,
                "steps": [_counted(episode, s) for s in one.steps],
            }
            for one in failure_modes(episode)
        ],
        "moments": [
            {"step": _counted(episode, one.step), "kind": one.kind, "label": one.label}
            for one in key_moments(episode)
        ],
        "input": None if arc is None else arc.input,
        "target": None if arc is None else arc.target,
    }


def step_facts(episode: Episode, t: int) -> dict[str, Any]:
    """What was done in transition `t`, 0..T-1, and what came of it.

    Cells are pairs of row and column, counted from 0, of the grid that they belong to.
    """
    arc = frames(episode)
    score = None if arc is None or arc.score is None else arc.score[t : t + 2].astype(float)
    flags = _flags(arc, t)
    return {
        "step": _counted(episode, t + 1),
        "operation": _operation(arc, t),
        "action": {name: values[t] for name, values in episode.actions.items()},
        "reward": episode.rewards[t],
        "return": returns(episode)[t + 1],
        "similarity": None if score is None else score[1],
        "similarity_change": None if score is None else _minus(score[1], score[0]),
        "terminated": bool(episode.terminated[t]),
        "truncated": bool(episode.truncated[t]),
        **flags,
        "badges": _badges(episode, arc, t),
        "failures": [one.mode for one in failure_modes(episode) if t + 1 in one.steps],
        "shapes": _shapes(arc, t),
        "grids": None if arc is None else _grids(arc, t),
        "fields": _fields(episode, t) if arc is None else None,
    }


def comparison_facts(a: Episode, b: Episode) -> dict[str, Any]:
    """Two episodes, what the second has more than the first, and where they part."""
    found, ours, theirs = compare(a, b), episode_facts(a), episode_facts(b)
    # Steps of an episode whose start was not kept stand beside none of the other's.
    whole = not (a.dropped or b.dropped)
    action, state = found.first_action, found.first_state
    return {
        "a": ours,
        "b": theirs,
        "deltas": {name: _minus(theirs[name], ours[name]) for name in _COMPARED},
        "same_start": found.same_start,
        "first_action": action + 1 if whole and action is not None else None,
        "first_state": state if whole else None,
        "differing": found.differing if whole else (),
        "first_divergence": _divergence(a, b),
    }


def _counted(episode: Episode, state: int) -> int:
    """The number of the step that led to a state, 0..T."""
    return state + episode.dropped


def _task(episode: Episode) -> str | None:
    """The task's name, by the environment's own roles or as the pictures find it."""
    index, names = role(episode, "task"), episode.environment.get("task_ids") or ()
    if index is None or not index.size or not 0 <= int(index.flat[0]) < len(names):
        return task_id(episode)
    return str(names[int(index.flat[0])])


def _minus(one: Any, other: Any) -> float | int | None:
    # What is unknown, or infinite on both sides, has no difference.
    if one is None or other is None or not np.isfinite([one, other]).all():
        return None
    return one - other


def _operation(arc: ArcFrames | None, t: int) -> dict[str, Any] | None:
    if arc is None or arc.operation(t) is None:
        return None
    return {"id": arc.operation(t), "name": arc.name(t), "kind": arc.kind(t)}


def _flags(arc: ArcFrames | None, t: int) -> dict[str, bool | None]:
    """What the badges say; null without grids, where nobody knows."""
    if arc is None:
        return dict.fromkeys(("submit", "valid", "no_op"))
    submit, no_op = bool(arc.is_submit[t]), bool(arc.is_noop[t])
    return {"submit": submit, "valid": arc.is_valid(t), "no_op": no_op}


def _badges(episode: Episode, arc: ArcFrames | None, t: int) -> list[str]:
    """The labels that the pictures have: what is special about the step, and how it ended."""
    words = [label for label, _ in arc.badges(t)] if arc is not None else []
    return [*words, *[outcome_words(episode)] * (t == len(episode) - 1)]


def _shapes(arc: ArcFrames | None, t: int) -> dict[str, tuple[int, int]] | None:
    if arc is None:
        return None
    return {"before": arc.box(t).shape, "after": arc.box(t + 1).shape}


def _grids(arc: ArcFrames, t: int) -> dict[str, Any]:
    """Rows of cells, -1 for one outside of the mask, and which of them stand out."""
    return {
        "before": arc.before(t),
        "after": arc.after(t),
        "selected": _cells(arc.selection(t)),
        "changed": _cells(arc.changed(t)),
        "to_go": _cells(arc.differs(t)),
    }


def _cells(mask: Bool[np.ndarray, "H W"] | None) -> Integer[np.ndarray, "n 2"] | None:
    return None if mask is None else np.argwhere(mask)


def _fields(episode: Episode, t: int) -> dict[str, Any]:
    """What was recorded of an environment without grids; large values by how much changed."""
    found = {}
    for name, values in episode.states.items():
        before, after = np.asarray(values[t]), np.asarray(values[t + 1])
        few = before.size <= _FEW
        found[name] = {
            "dtype": str(before.dtype),
            "shape": before.shape,
            "changed": int((before != after).sum()),
            "before": before if few else None,
            "after": after if few else None,
        }
    return found


def _divergence(a: Episode, b: Episode) -> dict[str, Any] | None:
    """The first step from the same grid that acts or ends differently, as the picture says it."""
    t = first_divergence(a, b)
    if t is None:
        return None
    did = {name: _operation(frames(each), t) for name, each in (("a", a), ("b", b))}
    return {"step": t + 1, **did}
