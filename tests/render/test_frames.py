"""Grids as pictures need them: trimmed, with what was selected, changed and still wrong."""

import numpy as np
import pytest

from jaxarc_trace.render.frames import Box, frames
from tests.render.stored import ENVIRONMENT, ROLES, stored, with_environment, with_states


def test_grids_have_their_real_size() -> None:
    arc = frames(stored("crop"))
    assert arc is not None
    assert len(arc) == 9
    assert arc.before(0).shape == (10, 12)
    assert arc.after(0).shape == arc.target.shape == (4, 4)
    assert arc.shapes == ((10, 12), *[(4, 4)] * 9)
    assert arc.input.shape == (10, 12)
    assert arc.before(0).min() >= 0


def test_what_changed_is_told_from_the_grids() -> None:
    arc = frames(stored("solved"))
    assert arc is not None
    for t in range(len(arc)):
        assert np.array_equal(arc.changed(t), arc.before(t) != arc.after(t))
        assert np.array_equal(arc.differs(t), arc.target != arc.after(t))
    assert not arc.differs(len(arc) - 1).any()
    assert arc.is_submit.tolist() == [False] * 22 + [True]


def test_a_selection_follows_the_mask_when_only_the_action_has_it() -> None:
    episode = stored("large")
    bare = with_environment(episode, roles={k: v for k, v in ROLES.items() if k != "selected"})
    recorded, derived = frames(episode), frames(bare)
    assert recorded is not None
    assert derived is not None
    for t in range(len(recorded)):
        assert np.array_equal(recorded.selection(t), derived.selection(t))


def test_new_cells_of_a_grown_grid_are_changed_and_missing_ones_differ() -> None:
    episode = stored("crop")
    back = with_states(
        episode,
        **{name: episode.states[name][::-1] for name in ("working_grid", "working_grid_mask")},
    )
    arc = frames(back)
    assert arc is not None
    assert arc.changed(8).sum() >= 10 * 12 - 16
    small = with_states(
        episode, working_grid_mask=np.zeros_like(episode.states["working_grid_mask"])
    )
    empty = frames(small)
    assert empty is not None
    assert empty.grid(0).shape == (0, 0)
    assert empty.differs(0).all()


def test_a_mask_that_is_no_rectangle_is_drawn_as_its_box_with_padding() -> None:
    episode = stored("solved")
    mask = np.zeros_like(episode.states["working_grid_mask"])
    mask[:, 2:5, 3:9] = True
    mask[:, 2, 3] = False
    arc = frames(with_states(episode, working_grid_mask=mask))
    assert arc is not None
    assert arc.box(0) == Box(2, 5, 3, 9)
    assert arc.grid(0).shape == (3, 6)
    assert arc.grid(0)[0, 0] == -1
    assert (arc.grid(0).ravel()[1:] >= 0).all()


def test_only_the_grid_is_needed() -> None:
    arc = frames(with_environment(stored("solved"), roles={"grid": "working_grid"}))
    assert arc is not None
    assert (arc.target, arc.input, arc.score, arc.differs(0)) == (None, None, None, None)
    assert arc.grid(0).shape == (30, 30)
    assert (arc.name(0), arc.kind(0), arc.operation(0)) == ("action", "unknown", None)
    assert frames(with_environment(stored("solved"), roles={})) is None


def test_a_hidden_target_is_no_target() -> None:
    episode = stored("solved")
    hidden = np.zeros_like(episode.states["target_grid_mask"])
    arc = frames(with_states(episode, target_grid_mask=hidden))
    assert arc is not None
    assert arc.target is None


@pytest.mark.parametrize(
    ("operation", "name", "valid"), [(34, "Submit", True), (99, "operation 99", False)]
)
def test_an_unknown_operation_is_named_by_its_number(
    operation: int, name: str, *, valid: bool
) -> None:
    from dataclasses import replace

    episode = stored("solved")
    changed = replace(episode, extras={"operation": np.full(len(episode), operation, np.int32)})
    arc = frames(changed)
    assert arc is not None
    assert (arc.name(0), arc.is_valid(0)) == (name, valid)
    assert ENVIRONMENT["operations"][34] == "Submit"
