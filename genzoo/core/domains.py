"""What the models that translate between two domains share."""

from typing import Any

from genzoo.batches import Pair


class TwoDomains:
    """Learns from pairs, whose domains are a and b here and have names in the data."""

    takes: type = Pair

    def letter(self: Any, to: Any) -> str:
        """`a` or `b` for a domain, by its letter or by the name that the data gave it; ValueError for any other."""
        names = dict(zip(self.facts.get("data", {}).get("domains") or (), "ab"))
        known = {"a": "a", "b": "b"} | names
        if to not in known:
            called = "".join(f", {letter} is {name}" for name, letter in names.items() if name.lower() != letter)
            raise ValueError(f"to={to}: the domains of this model are a and b{called}")
        return str(known[to])
