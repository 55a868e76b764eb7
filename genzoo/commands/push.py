"""Upload an exported folder to the Hugging Face Hub, by the extra hub."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.opening import Opening, opened
from genzoo.commands.train import key
from genzoo.console import escape
from genzoo.extras import needed
from genzoo.files import require_regular
from genzoo.limits import Place

FILES = ("model.safetensors", "config.json", "README.md", "*.onnx")  # nothing else leaves this machine
PRIVATE = ("root", "path", "labels")  # of the facts about data: where they lay


@dataclass
class Keys(Opening):
    command: str = "push"
    ckpt: Place = key("???", "a folder that genzoo export or genzoo convert made")
    repo: str = key("???", "where to: <user>/<name>, made if there is none")
    private: bool = key(False, "show a repository that is made now to nobody else")


def run(config: Any) -> int:
    """See that the folder is a whole export, and upload its files; the exit code."""
    from omegaconf import OmegaConf

    for name in ("ckpt", "repo"):
        if OmegaConf.is_missing(config, name):
            raise ValueError(f"{name} is missing: genzoo push ckpt=<exported folder> repo=<user>/<name>")
    folder, (user, _, name) = Path(config.ckpt).expanduser(), config.repo.partition("/")
    if not user or not name or "/" in name:
        raise ValueError(f"repo={config.repo}: <user>/<name> is expected")
    if not all((folder / name).is_file() for name in FILES[:3]):
        raise ValueError(f"ckpt={folder} is no exported folder: genzoo export ckpt={folder} out=<folder> makes one")
    for file in files(folder):
        if file.is_symlink():
            raise ValueError(f"ckpt={folder}: {escape(file.name)} is a link, and push sends only what the folder holds")
        require_regular(file)
    needed("hub", "genzoo push")
    opened(config)  # what cannot be loaded is not passed on

    import huggingface_hub

    if huggingface_hub.get_token() is None:
        raise ValueError("no token of the Hugging Face Hub was found: type `hf auth login`, or set HF_TOKEN")
    try:
        with tempfile.TemporaryDirectory() as parcel:
            pack(folder, Path(parcel))
            huggingface_hub.create_repo(config.repo, private=config.private, exist_ok=True)
            huggingface_hub.upload_folder(repo_id=config.repo, folder_path=parcel, commit_message="Upload by genzoo")
    except Exception as error:  # its network library, and so the class of its errors, changes with its version
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"repo={config.repo} was not uploaded: {line}") from error
    print(f"made   https://huggingface.co/{config.repo}")
    return 0


def files(folder: Path) -> list[Path]:
    """What is sent of a folder."""
    return [file for pattern in FILES for file in folder.glob(pattern)]


def pack(folder: Path, parcel: Path) -> None:
    """Copy the files of an export, without the places of this machine that config.json notes."""
    for file in files(folder):
        shutil.copy(file, parcel, follow_symlinks=False)  # it may have become one
    facts = json.loads((folder / "config.json").read_text())
    facts["data"] = {name: value for name, value in facts.get("data", {}).items() if name not in PRIVATE}
    (parcel / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
