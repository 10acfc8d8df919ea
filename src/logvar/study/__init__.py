"""Comparing scales: arms, runs, measurements, statistics, verdicts."""
