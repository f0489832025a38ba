"""The order of findings, whatever their places are called."""

from __future__ import annotations

from posetools.findings import Finding, sort_findings


def test_numbers_are_sorted_by_value_and_what_is_no_number_stays_text() -> None:
    # Superscripts are digits to Python, but no int; neither are thousands of digits.
    places = ["shapes[9]", "shapes[10]", "shapes[1²]", "shapes[" + "9" * 5000 + "]", "shapes[2]"]
    found = sort_findings(Finding("E101", "a.json", place, "x") for place in places)
    assert [finding.place for finding in found if len(finding.place) < 12 and "²" not in finding.place] == [
        "shapes[2]",
        "shapes[9]",
        "shapes[10]",
    ]
    assert len(found) == 5
