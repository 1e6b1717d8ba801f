"""Loading plugin files, and telling about plugins that fail while the rest goes on."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import PluginError

#: Python shows warnings of a logger on standard error, as they stand, unless it has been told otherwise.
log = logging.getLogger("giftbench")
#: Plugins that failed to load in this process: where each comes from, and its error.
failures: dict[str, str] = {}


def report(origin: str, error: BaseException) -> None:
    """Note a plugin that failed, and warn of it once."""
    message = f"{type(error).__name__}: {error}" if not isinstance(error, PluginError) else str(error)
    if failures.get(origin) != message:
        failures[origin] = message
        log.warning("plugin %s is left out: %s", origin, message)


def load_file(path: str | Path) -> None:
    """Import a plugin file, once a process. Raises PluginError, in one line, when it is absent or fails."""
    file = Path(path).expanduser().resolve()
    name = f"giftbench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    if not file.is_file():
        raise PluginError(f"plugin {path}: no such file")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError):
            raise PluginError(f"plugin {path}: line {error.lineno}: {error.msg}") from error
        raise PluginError(f"plugin {path}: {type(error).__name__}: {error}") from error


def load_files(paths: Iterable[str | Path]) -> None:
    """Import several plugin files."""
    for path in paths:
        load_file(path)
