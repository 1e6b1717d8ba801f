"""What a process loads: code run in a fresh Python, which tells its modules when it ends."""

from __future__ import annotations

import json
import subprocess
import sys


def loaded_by(code: str, *, place: str | None = None) -> tuple[set[str], str]:
    """Run `code` in a fresh Python, in the folder `place`; return the names of all modules that it loads, and what it prints."""
    report = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    program = f"import atexit, sys\natexit.register(lambda: exec({report!r}))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False, cwd=place)
    assert "Traceback" not in done.stderr, done.stderr
    printed, _, modules = done.stdout.rstrip("\n").rpartition("\n")
    return set(json.loads(modules)), printed


def command_line(*words: str) -> str:
    """Return the code of `giftbench WORDS`."""
    return f"import sys; sys.argv = {['giftbench', *words]!r}; import harness.cli.main; harness.cli.main.main()"
