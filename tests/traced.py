"""What a traced program is made of."""

from jax import lax


def products(program):
    """The products of a traced program and of those inside it."""
    for equation in program.eqns:
        if equation.primitive is lax.dot_general_p:
            yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                yield from products(inner)
