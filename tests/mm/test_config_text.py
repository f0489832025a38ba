"""The text of a config in a work folder: mmengine reads the same values from it, and a person can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.mm.config_text import laid_out

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.py"))


@pytest.mark.train
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_mmengine_reads_the_same_values(path: Path) -> None:
    from mmengine import Config

    config = Config.fromfile(path, format_python_code=False)
    text = laid_out(config.pretty_text)
    assert Config.fromstring(text, ".py").to_dict() == config.to_dict()
    assert all(len(line) <= 120 for line in text.splitlines() if "://" not in line)


def test_a_long_value_has_a_line_for_each_part() -> None:
    parts = ", ".join(f"'{'x' * 30}{i}'" for i in range(4))
    long = f"long = dict(a=1, b=[{parts}], c={{7: ({parts}), 'd e': float('inf')}}, d=dict({{1: 2}}))"
    assert laid_out(f"short = dict(a=[1, 2],\n  b=(-1.5,))\n{long}\n") == (
        "short = dict(a=[1, 2], b=(-1.5,))\n"
        "long = dict(\n"
        "    a=1,\n"
        "    b=[\n" + "".join(f"        '{'x' * 30}{i}',\n" for i in range(4)) + "    ],\n"
        "    c={\n"
        "        7: (\n" + "".join(f"            '{'x' * 30}{i}',\n" for i in range(4)) + "        ),\n"
        "        'd e': float('inf'),\n"
        "    },\n"
        "    d=dict({1: 2}),\n"
        ")\n"
    )
