"""Tables as people have them: any container → columns → a schema → cells, and back.

`frame` takes any container and `containers` gives it back; `reading` and `writing` are for files;
`kinds` finds a `schema`; `cells` turns columns into numbers, with NaN for missing cells, and back;
`form` is what a fitted model keeps of its table. Nothing here knows JAX.
"""
