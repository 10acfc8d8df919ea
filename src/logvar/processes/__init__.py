"""Several processes that train one model, over JAX's own distributed runtime.

`launching` starts processes on this machine and ends them together; `runtime` joins those that any
launcher has started; `placement` says which device has which part of an array, and lets processes
tell each other a few numbers; `agreement` refuses processes that are not of one run; `ending` lets
all of them know that one cannot go on.
"""
