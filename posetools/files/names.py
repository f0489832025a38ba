"""File names that are unique in one folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def unique_names(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Return a unique name for each image, from (origin, name) pairs.

    A unique name is unchanged. Images with the same name get their origin as a prefix, with a number if that is
    taken, too.
    """
    plain = [name for _, name in wanted]
    if len(set(plain)) == len(plain):
        return plain
    times = Counter(plain)
    used = {name for name, count in times.items() if count == 1}
    names = []
    for origin, name in wanted:
        if times[name] == 1:
            names.append(name)
            continue
        number, candidate = 1, f"{origin}/{name}"
        while candidate in used:
            number += 1
            candidate = f"{origin}-{number}/{name}"
        used.add(candidate)
        names.append(candidate)
    return names
