"""A shell completes verbs and their options with the script that is printed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from npc_contour.cli import MODULES, main

ASK = """
source {script}
COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_npc_contour; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [verb for verb in MODULES if verb not in script] == []


@pytest.mark.parametrize(
    ("words", "offered"), [("npc-contour se", {"serve", "segment", "send-test"}), ("npc-contour demo --o", {"--out"})]
)
def test_bash_offers_what_begins_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, offered: set[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)

    asked = ASK.format(script=script, words=words, last=len(words.split()) - 1)
    answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)

    assert offered <= set(answer.stdout.split())
    assert all(one.startswith(words.rsplit(maxsplit=1)[-1]) for one in answer.stdout.split())
