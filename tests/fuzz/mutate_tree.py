"""Ways to damage a folder: missing or duplicate entries, links, pipes, folders, and files that vanish when opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random
from typing import TypeAlias

from tests.fuzz import mutate, mutate_text
from tests.fuzz.tree import Fifo, Folder, Link, Tree

ByteMutator: TypeAlias = Callable[[Random, bytes], bytes]

BY_SUFFIX: Mapping[str, ByteMutator] = {
    ".json": mutate.mutate_json,
    ".xml": mutate_text.mutate_xml,
    ".csv": mutate_text.mutate_table,
    ".txt": mutate_text.mutate_lines,
    ".yaml": mutate_text.mutate_yaml,
    ".toml": mutate_text.mutate_toml,
    ".zip": mutate_text.mutate_zip,
    ".jpg": mutate_text.mutate_image,
    ".png": mutate_text.mutate_image,
}
_NAMES = ("a\nb", "🚗", "a b", "x" * 240, "%41", "..a", "-a", "é", "\udcff", "a:b", "a\\b", "[bold]", ".hidden", "con")


@dataclass
class Damaged:
    """A damaged source.

    Attributes:
        tree: its entries.
        vanishing: base names of files that vanish when opened.
        done: the damage, in words.
    """

    tree: Tree
    vanishing: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)


def damage(random: Random, tree: Tree, *, mind: str) -> Damaged:
    """Return a copy of the tree with some damage.

    Args:
        random: chooses the damage.
        tree: a valid source.
        mind: the annotation file, which gets most of the damage; more are found by their extensions.
    """
    damaged = Damaged(dict(tree))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        notable = [name for name in damaged.tree if PurePosixPath(name).suffix == PurePosixPath(mind).suffix]
        every = list(damaged.tree)
        if not every:
            break
        name = random.choice(notable) if notable and random.random() < 0.75 else random.choice(every)
        if random.random() < 0.85:
            _change_content(random, damaged, name)
        else:
            change = random.choice(_CHANGES)
            change(random, damaged, name)
            damaged.done.append(f"{change.__name__.strip('_')}: {name!r}")
    return damaged


def _change_content(random: Random, damaged: Damaged, name: str) -> None:
    content = damaged.tree[name]
    if not isinstance(content, bytes):
        return
    change = BY_SUFFIX.get(PurePosixPath(name).suffix, mutate.mutate_bytes)
    if random.random() < 0.15:
        change = mutate.mutate_bytes
    damaged.tree[name] = change(random, content)
    damaged.done.append(f"{change.__name__}: {name!r}")


def _remove(random: Random, damaged: Damaged, name: str) -> None:
    del random, damaged.tree[name]


def _vanish(random: Random, damaged: Damaged, name: str) -> None:
    del random
    damaged.vanishing.add(PurePosixPath(name).name)


def _pipe(random: Random, damaged: Damaged, name: str) -> None:
    del random
    damaged.tree[name] = Fifo()


def _folder(random: Random, damaged: Damaged, name: str) -> None:
    del random
    damaged.tree[name] = Folder()


def _link(random: Random, damaged: Damaged, name: str) -> None:
    own = PurePosixPath(name).name
    others = [PurePosixPath(other).name for other in damaged.tree]
    damaged.tree[name] = Link(random.choice((own, "..", ".", "/etc/passwd", "/dev/zero", "nowhere", *others)))


def _loop(random: Random, damaged: Damaged, name: str) -> None:
    parent = PurePosixPath(name).parent
    damaged.tree[str(parent / "loop")] = Link(random.choice((".", "..", "loop", "../..")))


def _copy(random: Random, damaged: Damaged, name: str) -> None:
    path = PurePosixPath(name)
    new = random.choice(_NAMES) + path.suffix
    damaged.tree[str(path.parent / new)] = damaged.tree[name]


def _rename(random: Random, damaged: Damaged, name: str) -> None:
    _copy(random, damaged, name)
    damaged.tree.pop(name, None)


def _other_case(random: Random, damaged: Damaged, name: str) -> None:
    del random
    damaged.tree[name.upper()] = damaged.tree[name]


def _clone_below(random: Random, damaged: Damaged, name: str) -> None:
    path = PurePosixPath(name)
    damaged.tree[str(path.parent / random.choice(_NAMES) / path.name)] = damaged.tree[name]


_CHANGES: tuple[Callable[[Random, Damaged, str], None], ...] = (
    _remove, _vanish, _vanish, _pipe, _folder, _link, _loop, _copy, _rename, _other_case, _clone_below,
)  # fmt: skip
