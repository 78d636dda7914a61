"""Hostile data sets: archives and headers that claim too much, code in disguise, what never ends.

Each maker writes into a folder and gives the value of --data, and what the message must say beside it. Code in
them would make a file `ran` in that folder, and a member that escapes a file `escaped` above it.
"""

import gzip
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

GIGA = 10**9
DATA = {}


def maker(table):
    """Registers a maker under its own name."""

    def register(function):
        table[function.__name__.replace("_", " ")] = function
        return function

    return register


class Trap:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        """Makes a file."""
        return (open, ("ran", "w"))


def zeros(size, start=b"", raw=True, end=b""):
    """A deflate stream of `start`, about `size` zeros and `end`: a thousandth as long, made block by block."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15 if raw else 31)
    block = bytes(2**24)
    head = coder.compress(start) + coder.flush(zlib.Z_FULL_FLUSH)
    piece = coder.compress(block) + coder.flush(zlib.Z_FULL_FLUSH)
    repeated = coder.compress(block) + coder.flush(zlib.Z_FULL_FLUSH)
    return head + piece + repeated * max(0, size // len(block) - 2) + coder.compress(end) + coder.flush()


def claiming(path, members):
    """An archive whose members are name → (deflated bytes, size that they claim to have)."""
    with path.open("wb") as file:
        entries = b""
        for name, (stream, size) in members.items():
            place, text = file.tell(), name.encode()
            extra = struct.pack("<HHQQ", 1, 16, size, len(stream))
            sizes = struct.pack("<III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
            common = struct.pack("<HHHHH", 45, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(text), len(extra))
            file.write(b"PK\3\4" + common + text + extra + stream)
            rest = struct.pack("<HHHII", 0, 0, 0, 0, place)
            entries += b"PK\1\2" + struct.pack("<H", 45) + common + rest + text + extra
        begin = file.tell()
        file.write(
            entries + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(entries), begin, 0)
        )


def header(shape, descr="'|u1'"):
    """The header of an .npy file."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npz(path, **members):
    """An archive of raw members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path.name


# Data sets


@maker(DATA)
def npz_that_inflates(folder, rng):
    """Gigabytes of zeros in megabytes."""
    size = rng.randrange(4, 8) * GIGA
    stream = zeros(size, header((size // 784, 28, 28)))
    labels = zlib.compress(header((10,)) + bytes(10))[2:-4]
    claiming(folder / "bomb.npz", {"x.npy": (stream, size), "y.npy": (labels, 10 + len(header((10,))))})
    return "bomb.npz", "times as many, and is not read"


@maker(DATA)
def npz_that_claims_a_hundred_gigabytes(folder, rng):
    """In its directory and its header, not in its bytes."""
    claiming(folder / "claim.npz", {"x.npy": (zeros(0, header((10**8, 28, 28))), 100 * GIGA), "y.npy": (b"\3\0", 0)})
    return "claim.npz", "times as many, and is not read"


@maker(DATA)
def npy_header_of_2_to_the_60(folder, rng):
    """More elements than there are bytes."""
    shape = rng.choice([(2**60,), (2**20, 2**20, 2**20), (2**62, 4, 4), (2**40, 28, 28)])
    return npz(folder / "large.npz", x=header(shape) + bytes(99), y=header((10,)) + bytes(10)), "large.npz"


@maker(DATA)
def pickle_in_npz(folder, rng):
    """An object array."""
    content = header((1,), "'|O'") + pickle.dumps(np.array([Trap()], object), protocol=3)
    return npz(folder / "pickled.npz", x=content, y=header((1,)) + b"\0"), "Object arrays cannot be loaded"


@maker(DATA)
def code_in_npy_header(folder, rng):
    """The header is a Python literal, which may not be evaluated."""
    code = rng.choice(["__import__('os').system('touch ran')", "open('ran', 'w')", "[open('ran', 'w') for _ in (1,)]"])
    return npz(folder / "code.npz", x=header((1,), code) + b"\0", y=header((1,)) + b"\0"), "code.npz"


@maker(DATA)
def members_that_escape(folder, rng):
    """Names that lead out of the folder."""
    with zipfile.ZipFile(folder / "escape.npz", "w") as archive:
        for name in ("../escaped", "../../escaped", str(folder.parent / "escaped"), "..\\escaped"):
            archive.writestr(f"{name}.npy", header((1,)) + b"\0")
    return "escape.npz", "lacks"


def idx(folder, images, end=""):
    """A folder of IDX files of which the training images are these bytes."""
    folder.mkdir()
    labels = bytes([0, 0, 8, 1]) + (10).to_bytes(4, "big") + bytes(10)
    small = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (10, 2, 2)) + bytes(40)
    files = {"t10k-images-idx3-ubyte": small, "train-labels-idx1-ubyte": labels, "t10k-labels-idx1-ubyte": labels}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / f"train-images-idx3-ubyte{end}").write_bytes(images)
    return folder.name


@maker(DATA)
def idx_of_2_to_the_60(folder, rng):
    """Sizes that no file has room for, plain and compressed."""
    sizes = rng.choice([(2**20, 2**20, 2**20), (2**32 - 1,) * 3, (2**31, 28, 28)])
    content = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in sizes) + bytes(100)
    end = rng.choice(["", ".gz"])
    return idx(folder / "idx", gzip.compress(content) if end else content, end), "train-images-idx3-ubyte"


@maker(DATA)
def idx_that_inflates(folder, rng):
    """Gigabytes of black images, as its header says."""
    count = rng.randrange(5, 9) * 10**6
    start = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
    return idx(folder / "idx", zeros(count * 784, start, raw=False), ".gz"), "times as many, and is not read"


@maker(DATA)
def csv_that_inflates(folder, rng):
    """One line without end, or lines without end."""
    if rng.random() < 0.5:
        (folder / "bomb.csv.gz").write_bytes(zeros(3 * GIGA, b"0,1", raw=False))
        return "bomb.csv.gz", "its first line is longer"
    piece = gzip.compress(b"0,0,0,0,0\n" * 10**6)
    (folder / "bomb.csv.gz").write_bytes(piece * 300)
    return "bomb.csv.gz", "times as many, and is not read"


@maker(DATA)
def csv_of_ten_million_columns(folder, rng):
    """In one line."""
    (folder / "wide.csv").write_bytes(b"0," * 10**7 + b"0\n")
    return "wide.csv", "its first line is longer"


@maker(DATA)
def csv_with_formulas(folder, rng):
    """As a spreadsheet would run them."""
    formula = rng.choice(["=cmd|' /C touch ran'!A0", "@SUM(1)", '=HYPERLINK("http://localhost")', "+1+cmd"])
    quoted = '"' + formula.replace('"', '""') + '"'
    (folder / "formula.csv").write_text(f"label,a,b,c,d\n0,1,2,3,{quoted}\n1,1,2,3,4\n")
    return "formula.csv", "pixels that are no numbers, in column d"


@maker(DATA)
def parquet_of_objects(folder, rng):
    """Dicts and lists where pixels or images belong."""
    import pandas as pd

    cells = rng.choice([[{"bytes": "text"}] * 4, [[1, 2]] * 4, ["a.png"] * 4])
    pd.DataFrame({"image": cells, "label": [0, 1, 0, 1]}).to_parquet(folder / "objects.parquet")
    return "objects.parquet", "neither images nor pixels"


@maker(DATA)
def parquet_that_inflates(folder, rng):
    """A billion equal numbers take no room."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"label": pa.array(np.zeros(10**7, np.uint8)), "a": pa.array(np.zeros(10**7, np.uint8))})
    with parquet.ParquetWriter(
        folder / "bomb.parquet", table.schema, compression="zstd", use_dictionary=False
    ) as writer:
        for _ in range(30):
            writer.write_table(table)
    return "bomb.parquet", "times as many, and is not read"


@maker(DATA)
def image_of_a_hundred_thousand_squared(folder, rng):
    """A PNG that claims it, and one of 9,000 × 9,000 black pixels."""
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(folder / "images" / name / "0.png")
    path = folder / "images" / "b" / "1.png"
    if rng.random() < 0.5:
        Image.new("RGBA", (9000, 9000)).save(path)
        return "images", "times as many, and is not read"
    content = bytearray((folder / "images" / "b" / "0.png").read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return "images", "1.png"


@maker(DATA)
def what_never_ends(folder, rng):
    """A pipe, a device, and links to them, as the data or inside of a folder of data."""
    kind = rng.choice(["pipe", "device", "link", "loop", "table", "image"])
    if kind == "device":
        return rng.choice(["/dev/zero", "/dev/stdin", "/dev/random"]), "there is no data set"
    if kind == "table":
        (folder / "set").mkdir()
        os.mkfifo(folder / "set" / "train.csv")
        (folder / "set" / "test.csv").symlink_to("/dev/zero")
        return "set", "is a pipe or a device"
    if kind == "image":
        (folder / "set" / "a").mkdir(parents=True)
        os.mkfifo(folder / "set" / "a" / "0.png")
        return "set", "is a pipe or a device"
    name = f"{kind}{rng.choice(['.npz', '.csv', ''])}"
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(name if kind == "loop" else "/dev/zero")
    return name, "there is no data set"


@maker(DATA)
def name_that_writes_lines(folder, rng):
    """A name with line breaks and what a terminal obeys."""
    name = rng.choice(
        ["a\nerror: all is well.npz", "\x1b[2J\x1b[1;31mred.csv", "a\rb.npz", "\u202ezpn.npz", "a\x85b.csv"]
    )
    (folder / name).write_bytes(b"no archive\xff")
    return name, "cannot be read"
