"""Functions of trees and their programs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.backend.compiling import Compiled, compiled


class Scaled(eqx.Module):
    weight: jax.Array
    factor: object = 2.0
    kind: str = eqx.field(static=True, default="double")


def scaled(module, x):
    return module.weight * x * module.factor, {"weight": module.weight}


def test_it_computes_what_the_function_does():
    """With arrays from JAX or NumPy, and modules and all else that a tree can be made of."""
    both = compiled(scaled)
    for x in (jnp.arange(3.0), np.arange(3.0, dtype=np.float32)):
        result, rest = both(Scaled(jnp.full(3, 5.0)), x)
        np.testing.assert_array_equal(result, [0, 10, 20])
        np.testing.assert_array_equal(rest["weight"], [5, 5, 5])


def test_other_numbers_in_arrays_take_no_other_program_and_all_else_does():
    function = compiled(scaled)
    function(Scaled(jnp.ones(3)), jnp.ones(3))
    function(Scaled(jnp.zeros(3)), jnp.arange(3.0))
    assert function.programs() == 1
    for many, module in enumerate((Scaled(jnp.ones(3), 3.0), Scaled(jnp.ones(3), kind="x")), 2):
        function(module, jnp.ones(3))
        assert function.programs() == many
    function(Scaled(jnp.ones(3)), jnp.ones((2, 3)))
    assert function.programs() == 4


def test_equal_constants_of_other_types_are_not_the_same_program():
    function = compiled(lambda x, constant: x + {bool: 1.0, int: 2.0, float: 3.0}[type(constant)])
    results = [float(function(jnp.zeros(()), constant)) for constant in (1, True, 1.0)]
    assert results == [2.0, 1.0, 3.0]


def test_all_memory_but_the_firsts_is_used_again_where_that_is_asked_for():
    first, second = jnp.arange(4.0), jnp.arange(4.0)
    Compiled(lambda a, b: a + b, donate=True)(first, second)
    assert not first.is_deleted() and second.is_deleted()
    first, second = jnp.arange(4.0), jnp.arange(4.0)
    Compiled(lambda a, b: a + b)(first, second)
    assert not first.is_deleted() and not second.is_deleted()


def test_a_constant_that_cannot_be_compared_is_refused():
    with pytest.raises((TypeError, ValueError), match="hash"):
        compiled(lambda x, words: x)(jnp.ones(2), {1, 2})
