"""Tests that need an engine, as `tox run -e engines` has them: Ray and submitit; Slurm itself is Debian's slurm-wlm and munge."""
