"""Operations whose form decides their speed: plain JAX formulas, with optional faster forms.

`ops` and `adam` have them. `extension` is the interface of the package that may compute some of
them faster (`logvar-kernels`), and finds it; nothing else in logvar knows of it.
"""
