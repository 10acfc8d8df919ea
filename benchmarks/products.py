"""The matrix products of a training step and nothing else: what is left if all the rest were free.
Or all its kernels: what is left if nothing came between them and all they read lay in the cache.

The floor of a comparison takes every product at the rate of one of 1024³. A step's own products are
smaller and take longer, by XLA or by the kernels of logvar-kernels. Here it may start all of a step's
at once, as it does with those that do not depend on each other; one after another they can take less.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from logvar.backend.compiling import Compiled
from logvar.models.batch import Batch
from logvar.training.schedules import Length
from logvar.training.state import initial_state, partition
from logvar.training.step import Epoch, Hyper, Keys, Task, step


def task_of(run):
    """A run's state before its first step, and what its steps share."""
    plan = run.plan
    state = initial_state(run.model, plan.optimizer, run.coordinates)
    rates = plan.schedule.rates(plan.schedule.rate, Length(plan.epochs, 1))
    hyper = Hyper(rates, jnp.asarray(0.0, jnp.float32), jnp.asarray(0, jnp.int32))
    static = partition(run.model)[1]
    task = Task(static, run.objective, plan.optimizer, run.coordinates, hyper, plan.fixed)
    return state, task


def products_of_step(run):
    """The equations of a run's step that are matrix products."""
    return [e for e in kernels_of_step(run) if is_product(e)]


def kernels_of_step(run):
    """The same, and those of the other kernels where logvar-kernels is in use."""
    state, task = task_of(run)
    fixed, seed = task.fixed, task.hyper.seed
    keys, size = Keys.of_epoch(seed, seed).at(seed), fixed.batch_size
    rows = Batch(jnp.asarray(run.rows.values[:size]), weight=jnp.ones(size))
    epoch = Epoch(rows, jnp.arange(size, dtype=jnp.int32), jnp.asarray(size), seed)
    one = lambda state, batch: step(state, batch, keys, task, epoch)  # noqa: E731
    arguments = state, rows
    return [equation for equation in equations(jax.make_jaxpr(one)(*arguments).jaxpr)
            if not is_product(equation) or flops(equation) > 1e5]  # fmt: skip


def equations(program):
    """The products and kernels of a traced program and of those inside it."""
    for equation in program.eqns:
        if equation.primitive is lax.dot_general_p or kernel(equation):
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def kernel(equation):
    """The name of the kernel that computes it, if one does (logvar-kernels)."""
    name = str(equation.params.get("target_name", ""))
    return name if name.startswith("logvar_") else None


def is_product(equation):
    return (kernel(equation) or "logvar_product").startswith("logvar_product")


def flops(equation):
    if name := kernel(equation):
        summed = [-2 if name.endswith("_left_turned") else -1]
    else:
        summed = equation.params["dimension_numbers"][0][0]
    terms = math.prod(equation.invars[0].aval.shape[axis] for axis in summed)
    return 2 * math.prod(equation.outvars[0].aval.shape) * terms


def alone(found, model, count, shares=1):
    """A function that computes these products or kernels so many times; side by side, one share a
    thread."""

    def chunk(model, factors):
        def body(carry):
            t, factors, _ = carry
            # Nothing here changes from turn to turn; the barriers keep XLA from seeing that, and
            # from computing only the number of each result that is kept.
            t, factors = lax.optimization_barrier((t, factors))
            results = lax.optimization_barrier([
                jax.tree.leaves(equation.primitive.bind(*operands, **equation.params))
                for equation, operands in zip(found, factors, strict=True)
            ])  # fmt: skip
            factors = list(map(kept, found, factors, results))
            return t + 1, factors, [result[0].reshape(-1)[0] for result in results]

        nothing = [jnp.zeros((), e.outvars[0].aval.dtype) for e in found]
        return lax.while_loop(lambda carry: carry[0] < count, body, (0, factors, nothing))[2]

    compiled = Compiled(chunk)
    factors = [[tuple(drawn(atom.aval) for atom in e.invars) for e in found] for _ in range(shares)]

    def one(share):
        jax.block_until_ready(compiled(model, share))

    def repeat():
        with ThreadPoolExecutor(shares) as pool:
            list(pool.map(one, factors))

    one(factors[0])
    return repeat, count


def kept(equation, operands, results):
    """The operands, those replaced whose memory the results have (Adam's)."""
    operands = list(operands)
    for operand, result in equation.params.get("input_output_aliases") or ():
        operands[operand] = results[result]
    return tuple(operands)


def drawn(kind):
    """Numbers to compute with, none below 0: Adam takes roots."""
    draw = np.random.default_rng(0)
    if kind.dtype == np.uint32:
        return jnp.asarray(draw.integers(2**32, size=kind.shape, dtype=np.uint32))
    return jnp.asarray(np.abs(draw.standard_normal(kind.shape, np.float32)))
