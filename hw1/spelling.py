"""Settings as text: how a flag writes one and reads one, and what it must be, in words."""

import dataclasses
import math
import re

LARGEST = 2**31 - 1  # whole number that a setting may be: what arrays count and seeds are 32 bits wide

# What a setting of a type is called, alone and where there are several.
ONE = {int: "a whole number", float: "a finite number", str: "some text", bool: "true or false"}
SEVERAL = {int: "whole numbers", float: "finite numbers", str: "names"}


def write(value: object) -> str:
    """A setting as its flag has it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read(value: str | bool | None, kind: type, many: bool) -> object:
    """The value of a flag. What cannot be read stays text, which is then refused. Widths may be written 30-20 too."""
    if not isinstance(value, str):
        return value
    if many:
        between = "-" if kind is int and re.fullmatch(r"\d+(-\d+)+", value.strip()) else ","
        return tuple(read(entry.strip(), kind, False) for entry in value.split(between))
    try:
        return kind(value)
    except ValueError:
        return value


def wanted(field: dataclasses.Field, kind: type, many: bool, value: object) -> str:
    """What a setting must be, in words, with an example where it has several entries."""
    choices = ", ".join(map(str, field.metadata.get("choices") or ()))
    if not many:
        return f"one of {choices}" if choices else f"{ONE[kind]}{_range(field, kind, value)}"
    several = f"different {SEVERAL[kind]}" if field.metadata.get("unique", True) else SEVERAL[kind]
    if choices:
        return f"{several} with commas between them, each one of {choices}"
    example = field.default[:2]
    if isinstance(value, tuple):
        return f"{several}{_range(field, kind, value)}, such as {write(example)}"
    return f"a tuple of {several}{_range(field, kind, value)}, such as {example}"


def _range(field: dataclasses.Field, kind: type, value: object) -> str:
    """What the bounds of a number are, in words; empty for what is no number."""
    if kind not in (int, float):
        return ""
    minimum, maximum = (field.metadata.get(bound) for bound in ("minimum", "maximum"))
    entries = value if isinstance(value, tuple) else (value,)
    if maximum in (None, math.inf) and any(isinstance(entry, int) and entry > LARGEST for entry in entries):
        maximum = LARGEST
    smallest = " of at least 1" if kind is int else " above 0"
    least = smallest if minimum is None else f" of at least {minimum}"
    return least if maximum in (None, math.inf) else f"{least} and at most {maximum}"
