"""What a data set knows of itself, for the keys that a configuration leaves to it by the word `auto`."""

from typing import Any

from genzoo.data.archives import located
from genzoo.data.packed import facts_of

SIZES = ("channels", "resolution")


def describe(node: dict[str, Any]) -> dict[str, Any]:
    """Channels and resolution, where the configuration `node` of a data set says `auto`: a pack knows them, and no
    picture is read for it. ValueError or OSError where nobody knows. Its classes are counted by `ZooData.classes`.
    """
    wanted = [name for name in SIZES if node.get(name) == "auto"]
    if not wanted:
        return {}
    if node.get("name") != "packed":
        raise ValueError(f"data.{wanted[0]}=auto: only a pack knows it (data=packed); say a number")
    if node.get("path") is None:
        raise ValueError("data=packed needs data.path=<a folder that genzoo pack made>")
    if node["path"] == "":
        raise ValueError("data.path= is empty: say where the files of data=packed are")
    facts = facts_of(located(node["path"]))
    known = {"channels": facts["channels"], "resolution": max(facts["resolutions"])}
    return {name: known[name] for name in wanted}
