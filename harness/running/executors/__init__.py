"""Where trials run: `local` hands bundles to worker processes on this machine; `work` is what every worker does with one."""
