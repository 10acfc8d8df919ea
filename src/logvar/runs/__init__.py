"""Runs as folders: saved, loaded, resumed, converted, examined."""
