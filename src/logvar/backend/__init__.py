"""Operations whose form decides their speed: plain JAX formulas, with optional faster forms.

`ops` and `adam` define them. `extension` is the interface of the optional package that computes
some of them faster (`logvar-kernels`), and finds it; nothing else in logvar refers to it.
"""
