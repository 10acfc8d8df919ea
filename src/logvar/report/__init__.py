"""Plots and reports: one offline HTML file for a run."""
