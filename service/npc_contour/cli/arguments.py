"""Arguments that several verbs share, checked where they are typed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

RAW = argparse.RawDescriptionHelpFormatter


class Verbs(Protocol):
    """What `add_subparsers` returns, as far as the verbs need it."""

    def add_parser(self, name: str, **kwargs: object) -> argparse.ArgumentParser:
        """Add one verb."""
        ...


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument(
        "--config", type=existing_file, metavar="SITE.TOML", help="the site's settings (default: built-in defaults)"
    )


def host_port(text: str) -> tuple[str, int]:
    """Parse HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r}: expected HOST:PORT, for example 127.0.0.1:11112")
    return host.strip("[]"), int(port)


def ae_title(text: str) -> str:
    """Accept an AE title: 1 to 16 printable ASCII characters but the backslash (PS3.5 section 6.2)."""
    if not text.strip() or len(text) > 16 or not (text.isascii() and text.isprintable()) or "\\" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an AE title of 1 to 16 ASCII characters")
    return text


def number_in(least: float, most: float = float("inf"), *, whole: bool = True) -> Callable[[str], float]:
    """Return what accepts a number between two bounds, both included."""

    def accept(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            kind, upper = "a whole number" if whole else "a number", "" if most == float("inf") else f" to {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r}: expected {kind} from {least:g}{upper}")
        return value

    return accept


def named(*endings: str) -> Callable[[str], Path]:
    """Return what accepts a file's name with one of these endings."""

    def accept(text: str) -> Path:
        if not text.endswith(endings):
            raise argparse.ArgumentTypeError(f"{text!r}: expected a name that ends with {' or '.join(endings)}")
        return Path(text)

    return accept


def existing_file(text: str) -> Path:
    """Accept a path to a file that exists."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return path


def existing_folder(text: str) -> Path:
    """Accept a path to a folder that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return path


def role_and_series(text: str) -> tuple[str, str]:
    """Parse ROLE=SERIES."""
    role, _, series = text.partition("=")
    if not role or not series:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ROLE=SERIES, for example planning_ct=1.2.840.17")
    return role, series
