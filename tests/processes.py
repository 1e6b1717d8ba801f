"""What a process loads: code run in a fresh Python, which tells its modules when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What an installer writes for a command, telling its modules when it ends.
SCRIPT = """
import sys
from {module} import {function}

if __name__ == "__main__":
    import atexit, json, pathlib

    atexit.register(lambda: pathlib.Path({modules!r}).write_text(json.dumps(sorted(sys.modules))))
    sys.exit({function}())
"""


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


def giftbench(folder: Path, *words: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Run `giftbench WORDS` as it is installed; return the names of all modules that the process loads, and what it came to.

    Args:
        folder: where its script is written; nothing else in it is touched.
    """
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]["giftbench"]
    module, _, function = entry.partition(":")
    script, modules = folder / "giftbench.py", folder / "modules.json"
    script.write_text(SCRIPT.format(module=module, function=function, modules=str(modules)))
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(modules.read_text())), done
