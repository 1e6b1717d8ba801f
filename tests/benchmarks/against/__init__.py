"""The same training job by GIFT's released loop, by Avalanche and by DD-Ranking's loop, beside `giftbench run`.

`python -m tests.benchmarks.against --dataset digits --into tests/benchmarks/README.md` runs it and writes its rows of the table.
Each loop is written out in a file of its own, from what its authors' documents and released code do; none of them loads the
harness. `bare` is the job's networks by themselves, the limit of all.
"""
