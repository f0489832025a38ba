"""Types every hint of ``convert`` that names an option as printed: the result is right, or another clear finding.

A hint that no case prints fails the last test: no one has tried it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import following
from tests.cli.run import Done
from tests.following.case import Case, Object, found
from tests.hints import Message, commands_of, mentions, messages, options_of
from tools.schemas import WAYS_ON

TABLES: dict[str, list[Case]] = {
    module.name.removeprefix("of_"): importlib.import_module(f"{following.__name__}.{module.name}").CASES
    for module in pkgutil.iter_modules(following.__path__)
    if module.name.startswith("of_")
}
HAS_SLEAP = importlib.util.find_spec("sleap_io") is not None
ALL = [
    pytest.param(
        f"{table}: {case.name}",
        case,
        id=f"{table}: {case.name}",
        marks=[pytest.mark.skipif(not HAS_SLEAP, reason="needs the extra sleap (sleap-io)")]
        if table == "sleap"
        else (),
    )
    for table, cases in TABLES.items()
    for case in cases
]

# Definitions whose texts name an option but are no hints of convert, or whose hint is tested elsewhere -> why.
ELSEWHERE = {
    "posetools.cli.convert": "the help of the options",
    "posetools.core.findings": "the table of codes",
    "posetools.core.folder._how_to_convert": "other commands say it: tests/cli/test_followed_hints.py",
    "posetools.core.folder._convert_to": "other commands say it: tests/cli/test_followed_hints.py",
    "posetools.core.folder._declared_categories": "other commands say it: tests/core/test_dataset_folder.py",
    "posetools.datasets.own_skeleton.OwnSkeleton": "other commands say it: tests/datasets/test_own_skeleton.py",
    "posetools.core.folder.splits_of": "what finishes it is in tests/core/test_split_journal.py",
    "posetools.errors.MissingExtraError": "options of pip and uv",
    "posetools.formats.check_way": "a URL: tests/files/test_urls.py",
    "posetools.formats.custom.format.FORMAT": "no source is told to be a table",
    "posetools.formats.labels.only_skeleton": "written to another format: tests/formats/test_several_categories.py",
    "posetools.formats.labelme.embedded.embedded_image": "a cluster, or images that stay: the latter is in of_pages",
    "posetools.formats.labelme.pages._mixed": "no texts are known that no one code page of the list fits",
    "posetools.formats.yolo_pose.format._flip_idx": "written as YOLO-pose: tests/formats/test_several_categories.py",
    "posetools.scale.shards.Processes": "a process that the system ended: tests/scale/test_shards.py",
}
# Options that a hint says to remove.
LEFT_OUT = ("--one-object-per-image",)
OF_SLEAP = ("posetools.formats.sleap", "posetools.formats.sources.scratch")
# These messages come from other places in cli.convert.
SAID = "posetools.cli.convert._print"


class Walk(NamedTuple):
    """A followed case: both conversions, the second one's arguments, its output's content, and any problem."""

    first: Done
    then: Done
    typed: list[str]
    found: dict[str, list[Object]] | None
    problem: str = ""


def walk(case: Case, folder: Path) -> Walk:
    """Convert the source of a case, type what the hint says, and convert again."""
    with contextlib.chdir(folder):
        words, first = case.first()
        try:
            typed, then = case.follow(words, first)
        except AssertionError as exc:
            return Walk(first, first, [], None, str(exc))
        out = Path("again" if Path("again").exists() else "out")
        return Walk(first, then, typed, found(out) if out.exists() else None)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Walk]:
    """Return the walk of every case, by table and name."""
    return {
        f"{table}: {case.name}": walk(case, tmp_path_factory.mktemp(table))
        for table, cases in TABLES.items()
        for case in cases
        if table != "sleap" or HAS_SLEAP
    }


@pytest.mark.parametrize(("name", "case"), ALL)
def test_what_a_hint_says_is_right_or_another_finding(name: str, case: Case, walked: dict[str, Walk]) -> None:
    done = walked[name]
    assert not done.problem
    # A case that expects no text must at least be refused.
    assert case.said or done.first.status
    if isinstance(case.want, str):
        assert done.then.status in (1, 2) and case.want in done.then.words, done.then.words
        assert done.found is None
    else:
        assert done.then.status == case.status, done.then.words
        assert done.found == {image: list(objects) for image, objects in case.want.items()}


def test_every_option_of_a_way_on_is_one(walked: dict[str, Walk]) -> None:
    """Each option that docs/findings.md names for an error is typed in a case that has this error first."""
    untried = [
        f"{code}: {each.option}"
        for code, way in WAYS_ON.items()
        for each in mentions(way)
        if not any(code in done.first.out and each.option in (*done.typed, *LEFT_OUT) for done in walked.values())
    ]
    assert not untried


def hints() -> Iterator[Message]:
    """Yield the texts of convert that name one of its options, without refusals of the option's own value."""
    own = options_of()["convert"]
    for message in messages():
        if "convert" not in commands_of(message) or re.fullmatch(r"\s*--[a-z-]+\s*", message.text):
            continue
        name = f"{message.node.module}.{message.node.name}"
        if name != SAID and not {name, message.node.module}.isdisjoint(ELSEWHERE):
            continue
        named = {each.option for each in mentions(message.text) if each.command in ("", "convert")} & own
        refused = {found[1] for found in re.finditer(r"(--[a-z-]+) must ", message.text)}
        if named - refused:
            yield message


def _as_printed(text: str) -> re.Pattern[str]:
    return re.compile(".*?".join(map(re.escape, text.strip().split("{}"))))


def _is_printed(message: Message, lines: Collection[str]) -> bool:
    """Return whether each line of a text that names an option was printed as part of a line."""
    wanted = [_as_printed(line) for line in message.text.splitlines() if list(mentions(line))]
    return all(any(one.search(line) for line in lines) for one in wanted)


def test_every_hint_is_printed_by_a_case(walked: dict[str, Walk]) -> None:
    outputs = [done.out + done.err for each in walked.values() for done in (each.first, each.then)]
    lines = {line for output in outputs for line in output.splitlines()}
    alone = [
        f"{each.node.module}:{each.line}: {each.text}"
        for each in hints()
        if (HAS_SLEAP or not each.node.module.startswith(OF_SLEAP)) and not _is_printed(each, lines)
    ]
    assert not alone, "\n".join(alone)


def test_the_hints_are_found() -> None:
    """The test above is useful only if texts are found in the code."""
    texts = [each.text for each in hints()]
    assert len(texts) > 60
    assert any("--label-pattern" in text for text in texts) and any("--kpt-order" in text for text in texts)
