"""A reduction in two turns is the reduction in one, whatever the size."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxarc_trace.folding import folded

SUM = functools.partial(jnp.sum, dtype=jnp.uint32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 63, 127, 128, 129, 300, 900]))
def test_sums_modulo_2_to_the_32(seed: int, size: int):
    values = np.random.default_rng(seed).integers(0, 2**32, (3, size), np.uint32)
    found = np.asarray(folded(SUM, jnp.asarray(values)))
    np.testing.assert_array_equal(found, values.sum(axis=-1, dtype=np.uint32))


@pytest.mark.parametrize("size", [1, 127, 128, 200])
def test_each_place_counts(size: int):
    found = folded(jnp.any, jnp.eye(size, dtype=jnp.bool_))
    assert found.shape == (size,)
    assert bool(found.all())
    assert not bool(folded(jnp.any, jnp.zeros(size, jnp.bool_)))
