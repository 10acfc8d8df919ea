"""Two scales that are one model give one run: the same numbers to the bit, in the programs that users run."""

import pytest

import logvar
from tests.study.test_comparing import DIGITS, SMALL
from tests.test_docs import examples_hold


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a whole") / "comparison"
    return logvar.compare(DIGITS, out=folder, name="digits", **SMALL), folder


def test_log_variance_and_matched_log_std_are_identical_run_for_run(whole):
    runs = whole[0].runs.to_pandas()
    one = runs[runs.scale == "log-variance"].reset_index()
    other = runs[(runs.scale == "log-std") & (runs.arm == "matched")].reset_index()
    for column in ("validation_elbo", "test_elbo", "test_log_likelihood", "test_kl", "best_epoch"):
        assert (one[column] == other[column]).all(), column
    as_is = runs[(runs.scale == "log-std") & (runs.arm == "as is")].reset_index()
    assert (one.test_elbo != as_is.test_elbo).all()
    matched = [v for v in whole[0].verdicts if v.scale == "log-std" and v.arm == "matched"]
    assert {v.verdict for v in matched} == {"identical by construction"}
    assert "identical by construction" in (whole[1] / "report.html").read_text()


def test_the_example_of_compare_holds():
    examples_hold("logvar.comparing")
