"""Files of a run: written whole or not at all, in a folder that one process at a time may use."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

_locked: set[Path] = set()  # folders that this process has locked


@contextlib.contextmanager
def lock(folder: str | os.PathLike) -> Iterator[None]:
    """Makes the folder and keeps other processes from it; may be nested. The system releases it after a kill.

    Raises:
        OSError: another run is using the folder, it is a file, or it cannot be made or written.
    """
    folder = Path(folder)
    place = folder.resolve()
    if place in _locked:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / ".lock").open("a+"))
            is_free = filelock.lock_descriptor(file.fileno(), blocking=False)
            if is_free:
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
        except OSError as error:
            if folder.is_file():
                raise NotADirectoryError(f"--out={folder} is a file, not a folder; name another") from None
            raise unwritable(folder, error) from error
        if not is_free:
            process = "unknown"
            with contextlib.suppress(OSError):  # Windows lets no other process read what is locked
                process = (folder / ".lock").read_text().strip() or process
            remedy = "wait for it, or name another folder with --out"
            raise OSError(f"another run (process {process}) is using {folder}; {remedy}")
        _locked.add(place)
        stack.callback(_locked.remove, place)
        yield


def replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a temporary file beside it, flushed to disk, takes its place."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)  # The new name, too, must survive a power cut.
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()  # Half a file only takes room on a full disk.
        raise unwritable(path.parent, error) from error


def unwritable(folder: Path, error: OSError) -> OSError:
    """The error to raise where a folder cannot be written: what happened, and what would help."""
    remedy = "make it writable, make room, or name another folder with --out; what was written before is kept"
    return OSError(f"cannot write to {folder} ({error.strerror or error}): {remedy}")
