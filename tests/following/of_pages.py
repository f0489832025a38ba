"""Hints about labelme files in a code page, and about images that exist only in imageData, followed."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

from tests.following.case import Case
from tests.following.sources import SKELETON, labelme

TAIL = "\u0445\u0432\u043e\u0441\u0442"


def _written(in_: dict[str, str], *options: str) -> list[str]:
    """Write files whose tail has another name, each in a different encoding."""
    arguments = labelme(None, *options)
    for name, encoding in in_.items():
        _rename(Path(f"src/{name}.json"), TAIL.encode(encoding))
    return arguments


def _rename(path: Path, label: bytes) -> None:
    text = path.read_bytes()
    assert text.count(b'"tail"') == 1
    path.write_bytes(text.replace(b'"tail"', b'"' + label + b'"'))


def _damaged(label: bytes) -> list[str]:
    arguments = labelme()
    _rename(Path("src/a.json"), label)
    return arguments


def _embedded(*options: str) -> list[str]:
    """Write files with embedded images that exist nowhere else in the source."""
    labelme()
    for name in "ab":
        image = base64.b64encode(Path(f"src/{name}.png").read_bytes()).decode()
        document = json.loads(Path(f"src/{name}.json").read_text())
        Path(f"src/{name}.json").write_text(json.dumps({**document, "imageData": image}))
    Path("elsewhere").mkdir()
    for name in "ab":
        shutil.move(f"src/{name}.png", f"elsewhere/{name}.png")
    return ["src", *SKELETON, *options]


CASES = [
    Case("a code page", lambda: _written({"a": "cp1251", "b": "cp1251"}), ("--encoding *",), want="E301"),
    Case(
        "a code page of another file",
        lambda: _written({"a": "cp1251"}, "--encoding", "shift_jis"),
        ("--encoding *",),
        want="E301",
    ),
    Case("no code page", lambda: _damaged(b"\xe9\x7f"), ("--encoding NAME",), {"NAME": "cp437"}, want="E301"),
    Case("images in the files", _embedded, ("--image-root DIR",), {"DIR": "elsewhere"}),
    Case("images in the files that are not to be copied", lambda: _embedded("--images", "none"), ("--images copy",)),
]
