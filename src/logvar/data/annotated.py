"""AnnData: a matrix of cells × genes, with a name and further columns for each cell."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logvar.errors import LogvarError

ENDING = ".h5ad"
_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """The matrix of an AnnData object, with its names.

    Args:
        matrix: (cells, genes), an array or a sparse matrix.
        names: the name of each cell.
        genes: the name of each gene; those that repeat have a number after them.
        repeated: how many names of genes repeat an earlier one.
    """

    matrix: Any
    names: tuple[str, ...]
    genes: tuple[str, ...]
    repeated: int = 0

    def matched(self, genes: tuple[str, ...] | None, name: str = "X") -> "Cells":
        """Return the cells with these genes, found by name; other genes are left out.

        Raises:
            LogvarError: one is not there.
        """
        if genes is None or genes == self.genes:
            return self
        order = self.places(genes, name).tolist()
        matrix = self.matrix.tocsc()[:, order] if hasattr(self.matrix, "tocsc") else None
        matrix = self.matrix[:, order] if matrix is None else matrix
        return dataclasses.replace(self, matrix=matrix, genes=genes)

    def places(self, genes: tuple[str, ...], name: str = "X") -> np.ndarray:
        """Return the column of each of these genes.

        Raises:
            LogvarError: one is not there.
        """
        where = {gene: i for i, gene in enumerate(self.genes)}
        absent = [gene for gene in genes if gene not in where]
        if absent:
            raise LogvarError(
                f"{name} lacks {len(absent):,} of {len(genes):,} genes that the model was fitted "
                f"on ({', '.join(absent[:_SHOWN])}{', …' if len(absent) > _SHOWN else ''}): give "
                "all of them, with 0 where nothing was counted"
            )
        return np.array([where[gene] for gene in genes])


def is_annotated(X: Any) -> bool:
    """Return whether X is an AnnData object."""
    return any(
        each.__name__ == "AnnData" and each.__module__.split(".")[0] == "anndata"
        for each in type(X).__mro__
    )


def cells_of(adata: Any, layer: str = "", name: str = "X", *, in_file: bool = False) -> Cells:
    """Return the matrix of an AnnData object, or one of its layers, with its names.

    Repeated names of genes get "-1", "-2" … in their order, as anndata makes them unique.

    Raises:
        LogvarError: there is no such layer, or no matrix.
    """
    if getattr(adata, "isbacked", False) and not in_file:
        adata = adata.to_memory()
    if layer and layer not in adata.layers:
        # From anndata 0.13 on, X itself is the layer None.
        known = ", ".join(str(key) for key in adata.layers if key is not None) or "it has none"
        raise LogvarError(
            f"{name} has no layer {layer!r} (layers: {known}): give one of them, or none for the "
            "matrix X itself; a model that was fitted on a layer reads the same one of all rows"
        )
    matrix = adata.layers[layer] if layer else adata.X
    if matrix is None:
        raise LogvarError(f"{name} has no matrix X: give the layer that holds the counts")
    genes = tuple(map(str, adata.var_names))
    unique = _unique(genes)
    repeated = sum(a != b for a, b in zip(genes, unique, strict=True))
    return Cells(matrix, tuple(map(str, adata.obs_names)), unique, repeated)


def obs_columns(adata: Any, names: Sequence[str], name: str = "X") -> dict[str, np.ndarray]:
    """Return columns of obs by their names: what is known of each cell, such as its batch.

    Numbers stay numbers; categories become the texts of their levels, and a missing one is None.

    Raises:
        LogvarError: there is no such column.

    Example:
        >>> import types, numpy as np
        >>> obs = {"batch": np.array(["a", "b"], object)}
        >>> obs_columns(types.SimpleNamespace(obs=obs), ["batch"])
        {'batch': array(['a', 'b'], dtype=object)}
    """
    import pandas  # as anndata does

    found = {}
    for column in names:
        if column not in adata.obs:
            known = ", ".join(map(str, adata.obs)) or "it has none"
            raise LogvarError(
                f"{name} has no column {column!r} in obs (columns: {known}): give one of them"
            )
        values = np.asarray(adata.obs[column])
        if values.dtype.kind not in "fiub":
            pairs = zip(values, pandas.isna(values), strict=True)
            values = np.array([None if missing else str(v) for v, missing in pairs], object)
        found[column] = values
    return found


def named_columns(
    adata: Any, kinds: Mapping[Any, str], name: str = "X"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the columns of obs that are identifiers, and those that are labels.

    Args:
        adata: the AnnData object.
        kinds: "identifier", "label" or "condition" for some columns of obs.
        name: what messages call it.

    Raises:
        LogvarError: a column is not there, or is to be of another kind.
    """
    for column, kind in kinds.items():
        if kind not in ("identifier", "label", "condition"):
            raise LogvarError(
                f"column {column!r} of {name} cannot be {kind}: columns of obs are carried as --id "
                "or --label, or told to the model as --condition, and genes are all modelled"
            )
    obs_columns(adata, [c for c, kind in kinds.items() if kind == "condition"], name)
    by_kind = ([c for c, k in kinds.items() if k == kind] for kind in ("identifier", "label"))
    first, second = (obs_columns(adata, columns, name) for columns in by_kind)
    return first, second


def read_h5ad(path: str | Path, *, in_file: bool = False) -> Any:
    """Read an .h5ad file.

    Args:
        path: the file.
        in_file: leave its matrix X there.

    Raises:
        LogvarError: anndata is not installed, or the file cannot be read.
    """
    try:
        import anndata
    except ImportError as error:
        raise LogvarError(
            f"{path} needs anndata, which is not installed: pip install 'logvar[anndata]'"
        ) from error
    import warnings

    try:
        with warnings.catch_warnings():
            # It warns of repeated names, of which the intake takes care.
            warnings.simplefilter("ignore", UserWarning)
            return anndata.read_h5ad(path, backed="r" if in_file else None)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LogvarError(
            f"{path} cannot be read as an .h5ad file ({reason}): expected what "
            "AnnData.write_h5ad writes"
        ) from error


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of which none repeats, the first of each as it is."""
    taken, times, unique = set(names), Counter[str](), []
    for each in names:
        found, n = each, times[each]
        if n:
            while f"{each}-{n}" in taken:
                n += 1
            found = f"{each}-{n}"
            taken.add(found)
        times[each] = n + 1
        unique.append(found)
    return tuple(unique)
