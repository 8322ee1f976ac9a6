# SPDX-License-Identifier: Apache-2.0
"""Progress of long loops: the library takes a wrapper, the commands pass one that draws a bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable and shows how far it has come."""

    def __call__(self, iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]: ...


def silent(iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """The default in the library: shows nothing."""
    del label, total
    return iter(iterable)


def bar(iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """A progress bar on stderr; on a pipe or in a log file a line every ten seconds instead of every redraw."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return iter(iterable)
    interactive = sys.stderr.isatty()
    return iter(
        tqdm(
            iterable,
            desc=label,
            total=total,
            file=sys.stderr,
            mininterval=0.1 if interactive else 10.0,
            # A loop that is over in two seconds needs no bar.
            delay=0.5 if interactive else 2.0,
            dynamic_ncols=interactive,
        )
    )
