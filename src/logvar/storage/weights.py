"""Arrays of a pytree in a safetensors file, named by their path in the tree."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from logvar.errors import LogvarError
from logvar.storage.files import write_atomically

_BROKEN = (safetensors.SafetensorError, json.JSONDecodeError, OSError)


def save_arrays(path: Path, tree: PyTree) -> None:
    """Write all arrays of a tree; the bytes are a function of the tree alone."""
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named_arrays(tree).items()}
    write_atomically(path, safetensors.numpy.save(arrays))


def save_float64(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays in float64; those of a model's tree are float32."""
    wide = {name: np.asarray(array, np.float64, order="C") for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(wide))


def load_named(path: Path, names: Collection[str], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Load arrays of one shape from a file, in the dtype in which they were written.

    Raises:
        LogvarError: the file is not a safetensors file, or lacks an array of that shape.
    """
    found = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in names:
                there = name in set(file.keys())
                if not there or tuple(file.get_slice(name).get_shape()) != shape:
                    raise LogvarError(
                        f"{path} has no array {name!r} of shape {shape}: it belongs to another "
                        "model; copy the whole run folder again"
                    )
                found[name] = np.asarray(file.get_tensor(name))
    except _BROKEN as error:
        raise _broken(path, error) from error
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in found.values()):
        raise LogvarError(f"{path} has values that are not finite numbers; the file was changed")
    return found


def load_whole(path: Path) -> dict[str, np.ndarray]:
    """Load all arrays of a file of `save_float64`.

    Raises:
        LogvarError: the file is not a safetensors file of float64.
    """
    try:
        arrays = safetensors.numpy.load_file(path)
    except _BROKEN as error:
        raise _broken(path, error) from error
    if any(array.dtype != np.float64 for array in arrays.values()):
        raise LogvarError(f"{path} has arrays of another dtype than float64; the file was changed")
    return arrays


def load_arrays(
    path: Path,
    skeleton: PyTree,
    *,
    apart: Collection[str] = (),
    ignored: tuple[str, ...] = (),
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> PyTree:
    """Fill a skeleton (arrays or shapes) with the arrays of a file.

    Args:
        path: a safetensors file.
        skeleton: the tree to fill.
        apart: names of arrays in the file that are not in the skeleton.
        ignored: prefixes of names of such arrays.
        renamed: names of arrays in files of an older version, by their current names.

    Shapes, dtypes and the size of the file are checked against the header and the skeleton
    before any array is read, so a hostile header cannot claim memory.

    Raises:
        LogvarError: the file is not a safetensors file, is truncated, or does not fit the skeleton.
    """
    expected = named_arrays(skeleton)
    older: dict[str, str] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            for name, leaf in expected.items():
                if name not in names and renamed.get(name) in names:
                    older[name] = renamed[name]
                elif name not in names:
                    raise LogvarError(
                        f"{path} has no array {name!r}: it belongs to another model; load it with "
                        "the recipe it was saved with"
                    )
                view = file.get_slice(older.get(name, name))
                if tuple(view.get_shape()) != tuple(leaf.shape):
                    raise LogvarError(
                        f"{path}: {name} has shape {tuple(view.get_shape())}, expected "
                        f"{tuple(leaf.shape)}; the recipe and the weights do not belong together"
                    )
            extra = names - expected.keys() - set(apart) - set(older.values())
            extra = {name for name in extra if not name.startswith(ignored)} if ignored else extra
            if extra:
                raise LogvarError(
                    f"{path} has arrays the model lacks, such as {min(extra)!r}: it belongs to "
                    "another model; load it with the recipe it was saved with"
                )
            loaded = {name: file.get_tensor(older.get(name, name)) for name in expected}
    except _BROKEN as error:
        raise _broken(path, error) from error

    def fill(path_of_leaf, leaf):
        if not _is_array(leaf):
            return leaf
        value = loaded[_name(path_of_leaf)]
        if value.dtype != leaf.dtype:
            raise LogvarError(
                f"{path}: {_name(path_of_leaf)} has dtype {value.dtype}, expected {leaf.dtype}"
            )
        return jnp.asarray(value)

    return jax.tree_util.tree_map_with_path(fill, skeleton)


def named_arrays(tree: PyTree) -> dict:
    """Return the arrays of a tree by their path, such as "encoder.head.kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves if _is_array(leaf)}


def _is_array(leaf: object) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _broken(path: Path, error: Exception) -> LogvarError:
    return LogvarError(
        f"{path} is not a whole safetensors file ({error}): copy it again, or save it anew"
    )


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
