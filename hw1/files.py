"""Files of a run: written whole or not at all, in a folder that one process at a time may use."""

import contextlib
import errno
import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

_locked: set[Path] = set()  # folders that this process has locked


@contextlib.contextmanager
def lock(folder: str | os.PathLike) -> Iterator[None]:
    """Makes the folder and keeps other processes from it; may be nested. The system releases it after a kill.

    The file `.lock` says who holds the folder. It only informs: what it says of a process that is gone blocks nobody.
    On a network file system the lock holds for all its machines, unless it is mounted so that locks stay on one of
    them. `hw1.records.Record` therefore notices when another run has written its files.

    Raises:
        OSError: another run is using the folder, it is no folder, it cannot be made or written, or its file system has
            no locks.
    """
    folder = Path(folder)
    place = folder.resolve()
    if place in _locked:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / ".lock").open("ab+", buffering=0))
            is_free = filelock.lock_descriptor(file.fileno(), blocking=False)
            if is_free:
                file.truncate(0)
                file.write(f"{os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            if os.path.lexists(folder) and not folder.is_dir():
                kind = "a link to nowhere" if folder.is_symlink() and not folder.exists() else "a file"
                raise NotADirectoryError(f"--out={folder} is {kind}, not a folder; name another") from None
            if error.errno in NO_LOCKS:
                remedy = "two runs could mix their results there: name a folder on a local disk with --out"
                raise OSError(f"the file system of {folder} has no locks ({error.strerror}); {remedy}") from error
            raise unwritable(folder, error) from error
        if not is_free:
            process = "unknown"
            with contextlib.suppress(OSError):  # Windows lets no other process read what is locked
                process = (folder / ".lock").read_text(errors="replace").strip() or process
            remedy = "wait for it, or name another folder with --out"
            raise OSError(f"another run (process {process}) is using {folder}; {remedy}")
        _locked.add(place)
        stack.callback(_locked.remove, place)
        yield


def replace(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all: a temporary file beside it, flushed to disk, takes its place."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # if it is a link, what it leads to is not overwritten
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
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


def sha256(content: bytes) -> str:
    """The SHA-256 of what is in a file, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def save(figure, folder: Path, name: str) -> list[Path]:
    """Writes a Matplotlib figure as PNG and PDF without their dates, and gives their paths; makes the folder."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    paths = []
    for kind, metadata in UNDATED.items():
        image = io.BytesIO()
        figure.savefig(image, format=kind, metadata=metadata)
        paths.append(folder / f"{name}.{kind}")
        replace(paths[-1], image.getvalue())
    return paths


def unwritable(folder: Path, error: OSError) -> OSError:
    """The error to raise where a folder cannot be written: what happened, and what would help."""
    reason = error.strerror or str(error)
    if error.filename and Path(error.filename).parent == folder:
        reason = f"{Path(error.filename).name}: {reason}"
    remedy = "make it writable, make room, or name another folder with --out; what was written before is kept"
    return OSError(f"cannot write to {folder} ({reason}): {remedy}")
