"""Tables as people have them: columns of several kinds, with missing cells.

`warp` maps one number column to normal scores, `density` finds that map, `number` is one column of
numbers, and `units` turns a whole table of cells into what a model reads and back.
"""
