"""Trials to records: scenarios and what they run with, in which order and on whose cores, and how long it all takes.

`planning` asks a board's scenarios for trials, `parts` a board of several parts; `scheduling` and `grouping` put trials into
bundles by what `costs` says; `executors/` carry them to where they are trained; `run` is all of it, `api` the same for a
notebook. `standing` knows of a board that is done that it is, before any of that is loaded.
"""
