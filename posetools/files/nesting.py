"""Limits for documents with references, such as YAML aliases, counted with every reference followed.

A YAML alias or a pickle memo refers to an earlier part. Ten levels of ten references each are a few hundred bytes in a
file, but ten billion values for code that visits them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Children = Callable[[object], Iterable[object]]


class NestingError(ValueError):
    """A document is nested too deeply, contains itself, or repeats too much of itself."""


def check_nesting(root: object, children: Children, *, deepest: int, most_repeated: int) -> None:
    """Refuse a document that is small only as a file.

    Args:
        root: the document.
        children: returns the values directly in a container, and nothing for other values. A container must keep
            them alive: they are identified by ``id``.
        deepest: the most levels it may have.
        most_repeated: how many values may come from repeated references.

    Raises:
        NestingError: it has more levels, repeats more values, or contains itself.
    """
    # The sizes of finished containers with all that is in them, and the containers from the root to this one.
    sizes: dict[int, int] = {}
    inside: list[int] = []
    rest = [[root]]
    totals = [1]
    written = 1
    while rest:
        if rest[-1]:
            value = rest[-1].pop()
            if id(value) in sizes:
                totals[-1] += sizes[id(value)]
            elif held := list(children(value)):
                if id(value) in inside:
                    raise NestingError("must not contain itself")
                if len(inside) >= deepest:
                    raise NestingError(f"must be nested at most {deepest} levels deep")
                inside.append(id(value))
                rest.append(held)
                totals.append(len(held))
                written += len(held)
            continue
        rest.pop()
        total = totals.pop()
        if total - written > most_repeated:
            raise NestingError(f"must repeat at most {most_repeated} values by references")
        if inside:
            sizes[inside.pop()] = total
            totals[-1] += total
