"""Genuine DICOM slices (part 10, explicit VR, little endian), and a reader of just these for where pydicom is not installed."""

import struct
import sys
import types
from pathlib import Path

import numpy as np

CT_STORAGE, EXPLICIT_LE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
_LONG = (b"OB", b"OW")  # whose length takes four bytes, after two of padding
_NAMES = {
    (0x0020, 0x0032): "ImagePositionPatient",
    (0x0020, 0x0037): "ImageOrientationPatient",
    (0x0028, 0x0030): "PixelSpacing",
    (0x0028, 0x1052): "RescaleIntercept",
    (0x0028, 0x1053): "RescaleSlope",
}


def _element(group, number, kind, value):
    if isinstance(value, str):
        value = value.encode()
        value += (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    elif isinstance(value, int):
        value = struct.pack("<H", value)
    head = struct.pack("<HH", group, number) + kind.encode()
    return head + (b"\0\0" + struct.pack("<I", len(value)) if kind.encode() in _LONG else struct.pack("<H", len(value))) + value


def write_slice(path, pixels, position, spacing, uid, *, orientation=(1, 0, 0, 0, 1, 0), slope=1, intercept=-1024):
    """One slice: stored `pixels` (rows, columns) uint16 at `position` (LPS, mm), `spacing` between rows and between columns."""

    def numbers(values):
        return "\\".join(f"{v:g}" for v in values)

    meta = _element(2, 0x0002, "UI", CT_STORAGE) + _element(2, 0x0003, "UI", uid) + _element(2, 0x0010, "UI", EXPLICIT_LE)
    body = [
        (0x0008, 0x0016, "UI", CT_STORAGE),
        (0x0008, 0x0018, "UI", uid),
        (0x0008, 0x0060, "CS", "CT"),
        (0x0020, 0x000E, "UI", f"{uid}.1"),
        (0x0020, 0x0032, "DS", numbers(position)),
        (0x0020, 0x0037, "DS", numbers(orientation)),
        (0x0028, 0x0002, "US", 1),
        (0x0028, 0x0004, "CS", "MONOCHROME2"),
        (0x0028, 0x0010, "US", pixels.shape[0]),
        (0x0028, 0x0011, "US", pixels.shape[1]),
        (0x0028, 0x0030, "DS", numbers(spacing)),
        (0x0028, 0x0100, "US", 16),
        (0x0028, 0x0101, "US", 16),
        (0x0028, 0x0102, "US", 15),
        (0x0028, 0x0103, "US", 0),
        (0x0028, 0x1052, "DS", f"{intercept:g}"),
        (0x0028, 0x1053, "DS", f"{slope:g}"),
        (0x7FE0, 0x0010, "OW", np.ascontiguousarray(pixels, "<u2").tobytes()),
    ]
    length = _element(2, 0x0000, "UL", struct.pack("<I", len(meta)))
    Path(path).write_bytes(b"\0" * 128 + b"DICM" + length + meta + b"".join(_element(*item) for item in body))


class _Slice:
    """What the stand-in gives of a file: numbers under the names that pydicom uses, and the pixels."""


def dcmread(path):
    """Read what `write_slice` wrote."""
    data = Path(path).read_bytes()
    if data[128:132] != b"DICM":
        raise ValueError("no DICOM")
    found, at, one = {}, 132, _Slice()
    while at < len(data):
        group, number, kind = *struct.unpack_from("<HH", data, at), data[at + 4 : at + 6]
        layout, place, start = ("<I", at + 8, at + 12) if kind in _LONG else ("<H", at + 6, at + 8)
        size = struct.unpack_from(layout, data, place)[0]
        found[group, number], at = data[start : start + size], start + size
    for tag, name in _NAMES.items():
        values = [float(v) for v in found[tag].decode().split("\\")] if tag in found else []
        setattr(one, name, values if len(values) > 1 else values[0])
    rows, columns = (struct.unpack("<H", found[0x0028, number])[0] for number in (0x0010, 0x0011))
    one.pixel_array = np.frombuffer(found[0x7FE0, 0x0010], "<u2").reshape(rows, columns)
    return one


def provide_pydicom(monkeypatch):
    """pydicom itself where it is installed, else the stand-in under its name."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        module = types.ModuleType("pydicom")
        module.dcmread = dcmread
        monkeypatch.setitem(sys.modules, "pydicom", module)
