"""What every worker loads before its first trial, in a process that workers are forked from where there is one."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module

with suppress(Exception):  # what is broken is said by the worker that needs it
    import harness.running.executors.work
    import harness.running.workbench  # noqa: F401


def load(modules: Iterable[str]) -> None:
    """Import what the trials of a board load besides, and say nothing of it: who uses a module says what is wrong with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            with suppress(Exception):
                import_module(module)
