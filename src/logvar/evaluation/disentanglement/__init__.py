"""How well latents separate the factors that data were made from, where these are known.

`factors` reads the table of factors; `information`, `prediction` and `intervention` each have the
scores computed in one way; `scores` is the front door.
"""
