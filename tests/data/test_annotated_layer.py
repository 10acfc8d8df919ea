"""A sparse layer of AnnData trains as its dense copy, to the bit, in the programs that users run."""

import warnings

import numpy as np
import pytest

import logvar
from logvar.errors import LogvarError
from tests.data.test_annotated import COUNTS, SETTINGS, annotated


def test_a_layer_is_fitted_as_its_matrix(tmp_path):
    adata, said = annotated(), []
    whole = logvar.VAE(**SETTINGS).fit(COUNTS)
    vae = logvar.VAE(**SETTINGS).fit(adata, layer="counts", announce=said.append)
    assert vae.history_ == whole.history_
    assert list(vae.feature_names_in_) == ["CD3D", "MIR", "LYZ", "MIR-2", "MIR-1", "MIR-3"]
    assert "names of columns that repeat and have got a number, NAME-1, …: 2" in said
    codes = vae.transform(adata)  # reads the same layer
    np.testing.assert_array_equal(codes, whole.transform(COUNTS))
    # Genes are found by their names, and others are left out.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        other = adata[:, [2, 0, 1, 3, 4, 5]].copy()
    np.testing.assert_array_equal(vae.transform(other), codes)
    with pytest.raises(LogvarError, match=r"lacks 1 of 6 genes .*\(CD3D\)"):
        vae.transform(adata[:, 1:])
    with pytest.raises(LogvarError, match=r"no layer 'raw' \(layers: counts\)"):
        logvar.VAE(**SETTINGS).fit(adata, layer="raw")
    again = logvar.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.transform(other), codes)
    assert list(again.feature_names_in_) == list(vae.feature_names_in_)
    assert again.recipe_.data.layer == "counts" and again.fitted_.column_names[3] == "MIR-2"
    # A run that starts from it reads the same layer, too; X holds logarithms.
    adapted = logvar.VAE(from_run=str(tmp_path / "run"), epochs=1).fit(adata)
    assert adapted.recipe_.data.layer == "counts"
    by_place = logvar.VAE(from_run=str(tmp_path / "run"), epochs=1).fit(COUNTS)
    assert by_place.history_ == adapted.history_ and not by_place.recipe_.data.layer
    (tmp_path / "run" / "features.json").write_text("[]")
    with pytest.raises(LogvarError, match=r"features.json is not the file"):
        logvar.load(tmp_path / "run")
