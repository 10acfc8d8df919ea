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

    return jax.tree.map(
        lambda node: _of_node(node, of_module, of_leaf) if _is_module(node) else of_leaf(node),
        tree,
        is_leaf=_is_module,
    )


def _of_node(node: eqx.Module, of_module: Any, of_leaf: Any) -> Any:
    """Do so for one module, rebuilt level by level: `eqx.tree_at` takes three times as long."""
    children = of_module(node) or {}
    fields, structure = jax.tree.flatten_with_path(node, is_leaf=lambda part: part is not node)
    found = [
        _where(value, of_module, of_leaf)
        if key.name in children
        else jax.tree.map(lambda _: False, value)
        for (key,), value in fields
    ]
    return jax.tree.unflatten(structure, found)


def _is_module(node: Any) -> bool:
    return isinstance(node, eqx.Module)
