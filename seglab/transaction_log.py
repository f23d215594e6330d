"""Read W&B's local log of a run, a `.wandb` file, and write the part of it that the server does not have.

The file has LevelDB's log format (github.com/google/leveldb/blob/main/doc/log_format.md) after a header of 7 bytes,
with a plain CRC-32. Each record is a `Record` of W&B's protocol buffers.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK = 32768
_PART = struct.Struct("<IHB")
"""Header of a part of a record: CRC-32 of kind and data, number of bytes, kind."""
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True)
class Contents:
    """Readable content of a log."""

    entity: str
    """Entity that the run's process asked for; empty for the default one."""
    project: str
    run_id: str
    first_step: int | None
    """`_step` of the first row; None without a row."""
    rows: int
    is_whole: bool
    """True if the log can be read up to its end. A killed process may leave a part of a record, which is read up to
    there.
    """
    has_ended: bool
    """True if the process has closed the log."""


def read_contents(path: Path) -> Contents:
    """Read a log.

    Raises:
        ValueError: the file is no log, or the record that names its run is damaged.
        OSError: the file cannot be read.
    """
    run, first, rows, has_ended = None, None, 0, False
    reader = _Reader(path)
    for data in reader:
        record = _parsed(data)
        if record.HasField("run") and run is None:
            run = record.run
        elif record.HasField("history"):
            rows += 1
            first = int(record.history.step.num) if first is None else first
        elif record.HasField("exit"):
            has_ended = True
    if run is None:
        raise ValueError(f"{path}: damaged (no record of the run can be read)")
    return Contents(run.entity, run.project, run.run_id, first, rows, reader.is_whole, has_ended)


def steps(path: Path) -> Iterator[int]:
    """Yield the `_step` of each row in a log, up to the place where a killed process left it."""
    for data in _Reader(path):
        record = _parsed(data)
        if record.HasField("history"):
            yield int(record.history.step.num)


def values(path: Path) -> dict[str, Any]:
    """Return the values that a log has left in the summary of its run: the last one of each name."""
    found: dict[str, Any] = {}
    for data in _Reader(path):
        record = _parsed(data)
        for item in (*record.history.item, *record.run.summary.update, *record.summary.update):
            names = list(item.nested_key) or [item.key]
            if not names[0].startswith("_"):
                _set(found, names, json.loads(item.value_json))
    return found


def _set(found: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Set a value within nested mappings."""
    for name in names[:-1]:
        inner = found.get(name)
        found[name] = found = inner if isinstance(inner, dict) else {}
    found[names[-1]] = value


def write_rest(path: Path, to: Path, rows: int) -> None:
    """Write a copy of a log without its first rows, and without the machine's own metrics if a row is left out.

    Args:
        path: the log.
        to: the copy.
        rows: number of rows that the copy leaves out.
    """
    left = rows
    with to.open("wb") as file:
        file.write(_HEADER)
        for data in _Reader(path):
            record = _parsed(data)
            if record.HasField("history") and left > 0:
                left -= 1
            elif not (record.HasField("stats") and rows > 0):
                _write(file, data)


@dataclass
class Keys:
    """Names of everything that logs hold."""

    config: dict[str, set[str]] = field(default_factory=dict)
    """Values of each top-level setting, as JSON."""
    curves: set[str] = field(default_factory=set)
    """Numbers in rows."""
    summary: set[str] = field(default_factory=set)
    """Numbers of which a run has one value in the end, such as the last one of a curve."""
    images: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)

    def add(self, path: Path) -> None:
        """Add what a log holds; nothing if it cannot be read."""
        for data in _Reader(path):
            record = _parsed(data)
            for update in (record.run.config.update, record.config.update):
                for item in update:
                    self.config.setdefault(_name(item), set()).add(item.value_json)
            for item in record.history.item:
                self._add_value(_name(item), item, self.curves)
            for item in (*record.run.summary.update, *record.summary.update):
                self._add_value(_name(item), item, self.summary)
        self.summary |= self.curves

    def _add_value(self, name: str, item: Any, numbers: set[str]) -> None:
        value = json.loads(item.value_json)
        kind = value.get("_type") if isinstance(value, dict) else value if item.nested_key[1:] == ["_type"] else None
        if kind in ("table-file", "joined-table"):
            self.tables.add(name)
        elif kind in ("image-file", "images/separated"):
            self.images.add(name)
        elif kind is None and isinstance(value, int | float) and len(item.nested_key) < 2 and not name.startswith("_"):
            numbers.add(name)


def _name(item: Any) -> str:
    """Return the top-level name of an item."""
    return str(item.nested_key[0] if item.nested_key else item.key)


def _parsed(data: bytes) -> Any:
    """Return a record as W&B's protocol buffer."""
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # wandb chooses the module of the installed protobuf
    record.ParseFromString(data)
    return record


class _Reader:
    """Yields the bytes of each record, up to the end or to a damaged place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole = False

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                return
            record = b""
            while True:
                if _BLOCK - file.tell() % _BLOCK < _PART.size:
                    file.read(_BLOCK - file.tell() % _BLOCK)  # padding
                head = file.read(_PART.size)
                if not head:
                    self.is_whole = not record
                    return
                if len(head) < _PART.size:
                    return
                checksum, size, kind = _PART.unpack(head)
                data = file.read(size)
                if len(data) < size or zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
                    return
                record = data if kind in (_WHOLE, _FIRST) else record + data
                if kind in (_WHOLE, _LAST):
                    yield record
                    record = b""


def _write(file: BinaryIO, record: bytes) -> None:
    """Append a record, in parts that do not cross the border of a block."""
    begun = False
    while record or not begun:
        left = _BLOCK - file.tell() % _BLOCK
        if left < _PART.size:
            file.write(bytes(left))
            left = _BLOCK
        part, record = record[: left - _PART.size], record[left - _PART.size :]
        kind = (_MIDDLE if record else _LAST) if begun else (_FIRST if record else _WHOLE)
        file.write(_PART.pack(zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part)
        begun = True
