"""Sources of rows that are read when they are needed, one a file.

`npy` reads .npy files, `indexed` anything with a length and indexing by an array of rows, and
`shards` several of these as one.
"""
