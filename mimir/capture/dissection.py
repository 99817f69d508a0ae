"""What is wrong with a wish for application fields, told before anything is read."""

from __future__ import annotations

from collections.abc import Iterator

from mimir.capture.application import OWN_FIELDS, PLACE_FIELDS, Dissection, has_any
from mimir.capture.tshark import find_tshark, tshark_complaint
from mimir.errors import Problem, RequirementError


def dissection_problems(how: Dissection) -> list[Problem]:
    """All of them; tshark itself is asked about fields and the filter. `where` names the options of a run."""
    problems = list(_any(how))
    if how.dissector == "own":
        return [*problems, *_own(how)]
    try:
        find_tshark()
    except RequirementError as error:
        return [*problems, Problem("capture.dissector", f"is {how.dissector}: {error}", "none, own")]
    return [*problems, *_wireshark(how)]


def _any(how: Dissection) -> Iterator[Problem]:
    if not how.fields or len(set(how.fields)) != len(how.fields):
        yield Problem("capture.dissector_fields", f"must name at least one field, each once (got {list(how.fields)})")
    if how.packets < 1:
        yield Problem("capture.dissector_packets", f"must be ≥ 1 (got {how.packets})", "1, 2 …")


def _own(how: Dissection) -> Iterator[Problem]:
    unknown = [name for name in how.fields if name not in OWN_FIELDS]
    if unknown:
        yield Problem("capture.dissector_fields", f"has what our own parsers do not know: {', '.join(unknown)}",
                      ", ".join(OWN_FIELDS), "use capture.dissector=tshark")  # fmt: skip
    if how.display_filter:
        yield Problem("capture.dissector_filter", f"is for Wireshark's dissectors (got {how.display_filter!r})", "",
                      "use capture.dissector=tshark")  # fmt: skip


def _wireshark(how: Dissection) -> Iterator[Problem]:
    list_them = "tshark -G fields lists all fields"
    if said := tshark_complaint([*PLACE_FIELDS, *how.fields]):
        yield Problem("capture.dissector_fields", f"is refused by tshark: {said}", "", list_them)
    elif how.fields and (said := tshark_complaint(["frame.number"], has_any(how.fields, ""))):
        yield Problem("capture.dissector_fields", f"has what no filter can ask for: {said}", "", list_them)
    if how.display_filter and (said := tshark_complaint(["frame.number"], how.display_filter)):
        yield Problem("capture.dissector_filter", f"is refused by tshark: {said} (got {how.display_filter!r})",
                      "a display filter", "man wireshark-filter explains them")  # fmt: skip
