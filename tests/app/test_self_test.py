"""A Triton that does not answer ends the self-test at once, with the reason, before a phantom is rendered."""

from __future__ import annotations

import pytest

from npc_contour.app.self_test import NetworkResult, scores, self_test
from npc_contour.errors import InferenceError
from npc_contour.settings import Settings
from npc_testkit.peers import free_port


def nobody() -> Settings:
    return Settings.model_validate({"triton": {"url": f"127.0.0.1:{free_port()}", "timeout_s": 2}})


def test_a_triton_that_does_not_answer_is_told_before_anything_is_rendered() -> None:
    done: list[str] = []

    with pytest.raises(InferenceError):
        self_test(nobody(), 1, lambda name, _: done.append(name))

    assert set(done) == {"reaching Triton"}
    with pytest.raises(InferenceError):
        scores(nobody())


@pytest.mark.parametrize(
    ("dice", "demo", "works"),
    [
        ({"Brain": 0.9}, True, True),
        ({"Brain": 0.1}, True, False),
        ({"Brain": 0.1}, False, True),
        ({"Brain": 0.0}, False, False),
        ({}, True, True),
    ],
)
def test_a_network_that_knows_phantoms_must_do_well_and_any_other_must_find_something(
    dice: dict[str, float],
    demo: bool,  # noqa: FBT001 - a column of the table
    works: bool,  # noqa: FBT001
) -> None:
    result = NetworkResult("npc_oar", demo, dice)

    assert result.works is works
    assert (result.mean is None) == (not dice)
