"""Draws given cells that are far out: their last proposals depend on the last bits of the first fit."""

from tests.evaluation.test_given_cells import check_draws, linear_and_exact


def test_draws_are_those_of_the_exact_conditional_where_none_from_the_prior_comes_near():
    check_draws(linear_and_exact(), (6.0, 0.0, 7.0))
