"""What the models that translate between two domains share."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from torch import Tensor

from genzoo.batches import Pair
from genzoo.console import escape


class TwoDomains:
    """Learns from pairs, whose domains are a and b here and have names in the data."""

    takes: type = Pair

    @property
    def makes(self) -> str:
        """The letters of the domains that there is a network for."""
        raise NotImplementedError

    @property
    def names(self: Any) -> dict[str, str]:
        """What the data called a and b; the letters themselves where it said nothing."""
        return {"a": "a", "b": "b"} | dict(zip("ab", self.facts.get("data", {}).get("domains") or ()))

    def as_tested(self, seed: int | None, dropout: bool = True) -> AbstractContextManager[None]:
        """In it the networks do by themselves what `translate` has them do, if wanted without live dropout."""
        return nullcontext()

    def still(self: Any, x: Tensor, to: Any) -> Tensor:
        """As `translate`, with nothing random and only for sizes that the network takes: what becomes ONNX."""
        with self.as_tested(None, dropout=False):
            return cast(Tensor, self.translator(to)(x))

    def letter(self: Any, to: Any) -> str:
        """`a` or `b` for a domain, by its letter or else by the name that the data gave it, in small letters or large;
        None means the only one that the model makes. ValueError for an unknown name, and for one that both domains have."""
        if to is None and len(self.makes) == 1:
            return str(self.makes[0])
        asked = str(to).lower()
        found = [asked] if asked in self.names else [a for a, name in self.names.items() if name.lower() == asked]
        if to is None or len(found) != 1:
            called = "".join(
                f", {letter} is {escape(name)}" for letter, name in self.names.items() if name.lower() != letter
            )
            wrong = "to is missing" if to is None else f"to={to}"
            raise ValueError(f"{wrong}: the domains of this model are a and b{called}")
        return str(found[0])
