"""Progress bars for long steps: on a terminal they move, in a file each step is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)


@contextmanager
def bars() -> Iterator[Progress]:
    """Show several bars at once on standard error."""
    columns = (
        TextColumn("{task.description:<44}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield progress


@contextmanager
def bar(title: str) -> Iterator[Callable[[float], None]]:
    """Show one bar; the callback takes the fraction done, 0 to 1."""
    with bars() as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda fraction: progress.update(task, completed=min(max(fraction, 0.0), 1.0))
        progress.update(task, completed=1.0)


def steps(progress: Progress) -> Callable[[str, float], None]:
    """Return a callback that keeps one bar per step, made when the step is first heard of."""
    tasks: dict[str, TaskID] = {}

    def report(step: str, done: float) -> None:
        if step not in tasks:
            tasks[step] = progress.add_task(step, total=1.0)
        progress.update(tasks[step], completed=done)

    return report
