"""What commands say on the terminal, and how they write what the user is to type next."""

import contextlib
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext  # in it no progress line is in the way
flags: list[str | Path] = []  # --config-dir and its folder, if they were typed: classes of one's own may lie there
PLAIN = re.compile(r"[\w./:@%+*?|$-]([\w ./:@%+*?|$-]*[\w./:@%+*?|$-])?|\[.*\]|\{.*\}|", re.ASCII)  # to Hydra's grammar


class Notice(UserWarning):
    """What a person should know about a file that is used all the same."""


def escape(text: object) -> str:
    """Text of foreign origin on one line: control, format and bidirectional characters as in `repr` (\\x1b, \\n)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def brief(text: object, most: int = 80) -> str:
    """`escape`, with its end left out where it is long."""
    line = escape(text)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def first_line(error: BaseException) -> str:
    """What an error of another library says, short and on one line."""
    return brief((str(error).strip() or type(error).__name__).splitlines()[0], 200)


def say(line: str) -> None:
    """A line, or several, of a command's progress."""
    with contextlib.suppress(OSError), aside():  # a terminal that is gone ends no work
        print("\n".join(map(escape, line.split("\n"))), file=sys.stderr, flush=True)


def tell(message: str) -> None:
    """What went wrong, or what the user should know."""
    say(f"genzoo: {message}")


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """While it lasts, every notice is told as a line instead of as a warning of Python's."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        show = warnings.showwarning
        warnings.showwarning = lambda message, kind, *where, **more: (
            tell(str(message)) if issubclass(kind, Notice) else show(message, kind, *where, **more)
        )
        yield


def quote(word: str | Path) -> str:
    """A setting, `key=value`, or a path, as it is typed into bash or zsh.

    A value that Hydra's grammar does not read as it stands (`a=b`, `x, y`, umlauts) gets quotes of its own inside those
    of the shell. Lists and dictionaries are taken as such. A Path is one word, whatever it holds.
    """
    key, equals, value = str(word).partition("=")
    if not isinstance(word, Path) and equals and re.fullmatch(r"[~+]*[\w./@-]+", key) and not PLAIN.fullmatch(value):
        word = f"{key}={grammatical(value)}"
    text = str(word)
    if not text.isprintable():  # a quoted line break would tear the hint in two
        return "$'" + "".join(map(ansi_c, text)) + "'"
    return f"'{text}'" if text.startswith("=") else shlex.quote(text)  # zsh looks for a program behind a first =


def command(verb: str, *words: str, allow: Sequence[str] = ()) -> str:
    """A command line as it is typed; one that allows packages of one's own also says where they are found."""
    own = [*allowing(allow), *flags] if allow else []
    return " ".join(["genzoo", verb, *map(quote, [*words, *own])])


def allowing(packages: Sequence[str]) -> list[str]:
    """The word that allows them on a command line; none if there are none."""
    return [f"allow=[{','.join(packages)}]"] if packages else []


def grammatical(value: str) -> str:
    """A string in the quotes of Hydra's grammar, where backslashes count before a quote only."""
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], value) + '"'


def ansi_c(character: str) -> str:
    """A character inside $'...', which bash and zsh read alike."""
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
