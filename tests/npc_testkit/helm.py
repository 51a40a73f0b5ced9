"""Helm, in a process of its own: its Go runtime and the libraries that other tests load do not live in one process.

`python helm.py lint CHART` and `python helm.py render CHART` (values as JSON on standard input) answer JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class HelmRefusal(Exception):
    """Helm does not render these values; the message is Helm's own."""


def lint(chart: Path) -> dict[str, Any]:
    """Return Helm's report: `errors`, and `messages` with severity, path and text."""
    return dict(_ask("lint", chart, {}))


def render(chart: Path, values: Mapping[str, Any], *, namespace: str) -> dict[str, str]:
    """Return the rendered files by name, as release `contour`.

    Raises:
        HelmRefusal: a value is refused.
    """
    return dict(_ask("render", chart, {"values": values, "namespace": namespace}))


def _ask(verb: str, chart: Path, question: Mapping[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, verb, str(chart)],
        input=json.dumps(question), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"helm {verb} ended with {done.returncode}: {done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    if "refusal" in answer:
        raise HelmRefusal(answer["refusal"])
    return answer["said"]


def _main() -> None:
    import helm_python  # noqa: PLC0415 (loads the Go runtime, which is what this process is for)

    verb, chart = sys.argv[1:]
    question = json.load(sys.stdin)
    said: Any
    try:
        if verb == "lint":
            said = helm_python.lint(chart)
        else:
            with helm_python.Chart.load(chart) as loaded:
                said = loaded.render(question["values"], name="contour", namespace=question["namespace"])
        answer = {"said": said}
    except helm_python.HelmError as error:
        answer = {"refusal": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
