"""The only hot loop, and the ways to make a step of it: alone, stacked, as a CUDA graph, side by side.

`values` is what it works on, `batches` what a step is given, `loop` the loop itself, `stack`, `graphs` and `overlap` several
trainings at once, `evaluation` what a student then gets right, `devices` where all that happens.
"""
