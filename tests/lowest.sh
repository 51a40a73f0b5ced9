#!/usr/bin/env bash
# The lowest versions that pyproject.toml declares, in an environment of their own, and a short part of the tests with them.
# What these versions warn of is not ours to mend, so warnings are no errors here.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${LOWEST:-.venv-lowest}
[ -x "$venv/bin/uv" ] || { "$python" -m venv "$venv"; "$venv/bin/python" -m pip install --quiet uv; }
"$venv/bin/uv" pip compile --quiet --resolution lowest-direct pyproject.toml --output-file "$venv/lowest.txt" >/dev/null
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --requirement "$venv/lowest.txt" \
  pytest pytest-timeout pytest-xdist hypothesis playwright dicomweb-client
"$venv/bin/python" -m pytest -q -W default --timeout 300 \
  tests/core/test_contouring.py tests/core/test_stacking.py tests/core/test_morphology.py tests/core/test_resampling.py \
  tests/adapters/dicom/read/test_reader.py tests/adapters/dicom/rtstruct/test_rtstruct.py tests/adapters/dicom/rtstruct/test_segmentation.py \
  tests/adapters/api/test_stow.py tests/adapters/api/test_connections.py tests/adapters/web/test_senders.py \
  tests/application/test_accounts.py "$@"
