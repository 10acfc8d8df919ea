"""Tables as people have them: any container → columns → a schema → cells, and back.

`frame` takes any container, `columns` each of its columns, and `containers` gives it back;
`reading` and `writing` are for files; `kinds` finds a `schema`, `choices` says what a user knows
better, and `said` checks that against the cells; `cells` turns columns into
numbers, with NaN for missing cells, and back; `form` is what a fitted model keeps of its table.
`warp` maps one number column to normal scores, `density` finds that map, `number` is one column of
numbers, and `units` turns cells into what a model reads and back.
"""
