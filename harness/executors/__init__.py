"""Executors: where trials run. An executor is given bundles and yields records as they come.

`local` uses worker processes on this machine; `inline` runs in this process.
"""
