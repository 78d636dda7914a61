"""How much a file may ask for: what would fill the memory or never end is refused by name before it is read.

A few kilobytes can claim to hold, or inflate to, more than any memory has: by a compressed stream of zeros, by sizes in
a header, by layers without weights.
"""

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

LARGE = 2**28  # bytes: what is read of a smaller file is not limited
FOLD = 500  # times that data inflate at most; digits in float64 do so about 50 times, a stream of zeros 1,000 times
PIECE = 2**20  # bytes read at once


def memory() -> float:
    """The memory of the machine in bytes; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def check_inflated(path: str | os.PathLike, inflated: int, stored: int) -> None:
    """Raises ValueError for a file that would take too much memory.

    Args:
        path: of the file, for the message.
        inflated: bytes that its contents take in memory, as it claims.
        stored: bytes that it stores of them.
    """
    if inflated > LARGE and inflated > FOLD * stored:
        raise ValueError(
            f"{path} stores {stored:,} bytes that would become {inflated:,}, more than {FOLD} times as "
            "many, and is not read: save it uncompressed if that is what it holds"
        )
    if inflated > memory():
        raise ValueError(
            f"{path} would become {inflated:,} bytes, but the machine has {memory():,} bytes of memory: save a part of "
            "it as a file of its own"
        )


def check_archive(path: str | os.PathLike, archive) -> None:
    """As `check_inflated`, for all members of a `zipfile.ZipFile` together."""
    members = archive.infolist()
    check_inflated(path, sum(one.file_size for one in members), sum(one.compress_size for one in members))


def check_stream(path: str | os.PathLike, opened: Callable) -> None:
    """As `check_inflated`, for a compressed file, which `opened()` opens inflated; it is read once, piece by piece."""
    stored, inflated = os.path.getsize(path), 0
    with opened() as file:
        while piece := file.read(PIECE):
            inflated += len(piece)
            check_inflated(path, inflated, stored)


def check_regular(path: str | os.PathLike) -> None:
    """Raises ValueError for a pipe, a device or a socket, which may never end; OSError if there is no such file."""
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is a pipe or a device, not a file: copy what it gives to a file")


def check_hdf5(path, group) -> int:
    """The bytes of all numbers; ValueError if HDF5 leads to other files, or claims more numbers than it stores."""
    import h5py

    claimed = stored = 0
    groups, seen = [group], set()
    while groups:
        group = groups.pop()
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.SoftLink | h5py.ExternalLink):
                raise ValueError(f"its {name!r} is a link, perhaps to another file, which Keras does not write")
            part = group[name]
            place = h5py.h5o.get_info(part.id).addr
            if place in seen:  # under another name, perhaps of a group that holds itself
                continue
            seen.add(place)
            if isinstance(part, h5py.Group):
                groups.append(part)
            elif isinstance(part, h5py.Dataset):
                if part.external or part.is_virtual:
                    raise ValueError(f"its {name!r} is stored in another file, which Keras does not do")
                claimed, stored = claimed + part.nbytes, stored + part.id.get_storage_size()
    check_inflated(path, claimed, stored)
    return claimed
