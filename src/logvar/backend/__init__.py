"""Operations whose form decides their speed: plain JAX formulas, with optional faster forms.

`ops` names them. `extension` finds the package that may compute them faster (`logvar-kernels`);
nothing else in logvar knows of it.
"""
