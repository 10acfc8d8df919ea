"""Which parts of a model are trained: every inexact array that is not declared frozen.

A field is frozen by `frozen()`, an object by `trains = False`, and the arrays of a class by
`is_settings = True`: these are settings, which come from the recipe and are not in weights files.
There is no other list, so the weights of a new part are trained and saved automatically.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


def frozen(**field: Any) -> Any:
    """Declare a field of an `equinox.Module` whose arrays are not trained.

    Args:
        field: arguments of `dataclasses.field`, such as `default`.
    """
    return dataclasses.field(metadata={"frozen": True}, **field)


def trainable(tree: PyTree) -> PyTree:
    """Return a tree of the same structure: for each leaf, whether training changes it."""

    def of_module(node: eqx.Module) -> dict[str, Any] | None:
        if not getattr(node, "trains", True) or getattr(node, "is_settings", False):
            return None
        frozen = {field.name for field in dataclasses.fields(node) if field.metadata.get("frozen")}
        return {name: value for name, value in _children(node).items() if name not in frozen}

    return _where(tree, of_module)


def without_settings(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Split a model into (contents of a weights file, settings from the recipe)."""

    def of_module(node: eqx.Module) -> dict[str, Any] | None:
        return None if getattr(node, "is_settings", False) else _children(node)

    of_file = _where(tree, of_module, lambda leaf: True)
    return eqx.partition(tree, of_file)


def _children(node: eqx.Module) -> dict[str, Any]:
    """Return the fields of a module that have leaves."""
    found = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name, None)
        if not field.metadata.get("static") and jax.tree.leaves(value):
            found[field.name] = value
    return found


def _where(tree: PyTree, of_module: Any, of_leaf: Any = eqx.is_inexact_array) -> PyTree:
    """Return True for the leaves that `of_leaf` accepts, in the fields that `of_module` returns,
    and False for all others."""

    def of_node(node: Any) -> Any:
        if not _is_module(node):
            return of_leaf(node)
        nothing = jax.tree.map(lambda _: False, node)
        children = of_module(node)
        if not children:
            return nothing
        return eqx.tree_at(
            lambda node: [getattr(node, name) for name in children],
            nothing,
            [_where(value, of_module, of_leaf) for value in children.values()],
        )

    return jax.tree.map(of_node, tree, is_leaf=_is_module)


def _is_module(node: Any) -> bool:
    return isinstance(node, eqx.Module)
