"""Names of a model hub, `owner/model[/file.gguf]`, through `huggingface_hub` if installed.

The library does the network, the cache and the credentials; this file only says which files are
wanted. Code in a repository is never among them.
"""

import importlib.util
import re
from pathlib import Path

from tokenmill.errors import NotFoundError, TokenmillIoError, UnsupportedError
from tokenmill.models.fetch import is_offline

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[\w./-]+\.gguf)?", re.ASCII)
_FILE_ENDINGS = (".gguf", ".safetensors", ".json", ".bin")
_WANTED = [
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
]


def is_hub_name(name: str) -> bool:
    """Whether this is written like a hub name, and not like a path to a file of two parts."""
    parts = name.split("/")
    if len(parts) == 2 and parts[1].endswith(_FILE_ENDINGS):
        return False
    return _NAME.fullmatch(name) is not None and ".." not in parts


def fetch_from_hub(name: str) -> Path:
    """The local file or folder of a hub name."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UnsupportedError(
            f"{name} looks like a hub name and huggingface_hub is not installed: "
            "pip install 'tokenmill[hub]'"
        )
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    offline = is_offline()
    owner, repository, *rest = name.split("/")
    repo_id = f"{owner}/{repository}"
    try:
        if rest:
            file = huggingface_hub.hf_hub_download(
                repo_id, "/".join(rest), local_files_only=offline
            )
            return Path(file)
        folder = huggingface_hub.snapshot_download(
            repo_id, allow_patterns=_WANTED, local_files_only=offline
        )
        return Path(folder)
    except GatedRepoError as error:
        # Known by name, so that this stands before what it is a kind of.
        raise TokenmillIoError(
            f"the hub gives {name} only to whom its makers let in: ask for access on its page, "
            "then log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise NotFoundError(f"the hub has no model {name}") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise TokenmillIoError(f"cannot fetch {name} from the hub: {reason}") from error
