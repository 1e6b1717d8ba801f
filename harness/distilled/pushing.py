"""A folder of a published set, put on the Hugging Face Hub by huggingface_hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.core.errors import BadOption, GiftbenchError
from harness.files.paths import line

_FORM = re.compile(r"hub:([\w.-]{1,96})/([\w.-]{1,96})", re.ASCII)


def repository(place: str) -> str:
    """Return USER/NAME of `hub:USER/NAME`. Raises BadOption for another form."""
    form = _FORM.fullmatch(place)
    if form is None or {form[1], form[2]} & {".", ".."}:
        raise BadOption(f"--push {line(place)[:80]}: write it as hub:USER/NAME")
    return f"{form[1]}/{form[2]}"


def push(folder: Path, place: str, *, private: bool = False, message: str = "A distilled set") -> str:
    """Put the files of a folder into a dataset repository of the Hub, made where there is none, and return its address.

    Who pushes is whom `hf auth login` or HF_TOKEN says; HF_ENDPOINT names another Hub.

    Args:
        place: `hub:USER/NAME`.
        private: whether a repository that is made now is seen by its owner alone.
        message: of the commit.
    Raises: GiftbenchError, one line, where huggingface_hub is not installed, and where the Hub refuses or cannot be reached.
    """
    name = repository(place)
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise GiftbenchError(
            "the Hub is reached by huggingface_hub, which is not installed: pip install 'giftbench[huggingface]'"
        ) from None
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        made = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, commit_message=message)
    except Exception as error:  # of the Hub's answer, or of the HTTP library, which is not the same in all releases
        status = _status(error)
        remedy = "; log in as who may write there: hf auth login, or HF_TOKEN" if status in (401, 403) else ""
        said = f"status {status}" if status else f"{type(error).__name__}: {line(error)[:160]}"
        raise GiftbenchError(f"{place}: not pushed ({said}){remedy}; {folder} holds what would have been") from None
    return str(made)


def _status(error: BaseException | None) -> int:
    """Return the status of the answer that an error, or one before it, is about; 0 where there was none."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status:
            return int(status)
        error = error.__cause__ or error.__context__
    return 0
