"""Answers of the command line as JSON, with the fields that REST has."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from pydantic import BaseModel


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON, with the fields of REST")


def print_json(views: BaseModel | Sequence[BaseModel]) -> None:
    """Print one view, or a list of them."""
    plain = [one.model_dump(mode="json") for one in ([views] if isinstance(views, BaseModel) else views)]
    print(json.dumps(plain[0] if isinstance(views, BaseModel) else plain, indent=2, ensure_ascii=False))
