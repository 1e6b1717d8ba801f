"""What every worker loads before its first trial, in a process that workers are forked from where there is one."""

from contextlib import suppress

with suppress(Exception):  # what is broken is said by the worker that needs it
    import torch

    import harness.running.executors.work
    import harness.running.workbench  # noqa: F401

    torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1).zero_grad()  # torch loads its compiler with the first optimizer
