"""What every worker loads before its first trial, in a process that workers are forked from where there is one."""

from contextlib import suppress

with suppress(Exception):  # what is broken is said by the worker that needs it
    import harness.running.executors.work
    import harness.running.workbench  # noqa: F401
