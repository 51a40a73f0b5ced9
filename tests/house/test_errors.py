"""The drawing of the error tree in errors.py is the tree."""

from __future__ import annotations

import re

from npc_contour import errors


def drawn_tree() -> dict[str, str]:
    """Return child name → parent name as drawn in the module's docstring."""
    assert errors.__doc__
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^([│ ├└─]*)([A-Z]\w+)", line)
        if not match or (not match[1] and match[2] != "AutocontourError"):
            continue
        depth = len(match[1]) // 4
        branch[depth:] = [match[2]]
        if depth:
            parents[match[2]] = branch[depth - 1]
    return parents


def test_the_drawing_is_the_class_tree() -> None:
    classes = {
        cls.__name__: cls.__bases__[0].__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.AutocontourError) and cls is not errors.AutocontourError
    }

    assert drawn_tree() == classes


def test_refusals_of_images_are_never_retried() -> None:
    for cls in (errors.CaseRefused, errors.SeriesGeometryError, errors.PixelDataError, errors.NoPipelineError):
        assert not cls.retryable
