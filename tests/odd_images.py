"""Image files as no library writes them: raw PNG chunks, decompression bombs, colour profiles made to measure."""

import io
import struct
import zlib

from PIL import Image


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, raw: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bombs() -> dict[str, bytes]:
    """A few bytes each that claim 60,000 x 60,000 pixels (WebP's format ends at 16,383 a side)."""
    gif = encoded(Image.new("P", (1, 1)), "GIF")
    bmp = bytearray(encoded(Image.new("L", (1, 1)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    bits = 0x2F | 16_382 << 8 | 16_382 << 22  # VP8L: signature, width - 1 and height - 1 in 14 bits each
    webp = bytearray(encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    webp[20:25] = bits.to_bytes(5, "little")
    tiff = bytearray(encoded(Image.new("L", (1, 1)), "TIFF"))
    for tag in (256, 257):
        entry = (
            tiff.index(struct.pack("<HHI", tag, 4, 1))
            if struct.pack("<HHI", tag, 4, 1) in tiff
            else tiff.index(struct.pack("<HHI", tag, 3, 1))
        )
        tiff[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    return {
        "PNG": png(60_000, 60_000, 8, 0, b""),
        "GIF": gif[:6] + struct.pack("<HH", 60_000, 60_000) + gif[10:],
        "BMP": bytes(bmp),
        "WEBP": bytes(webp),
        "TIFF": bytes(tiff),
    }


def tile_bomb(side: int) -> bytes:
    """A TIFF of one pixel, in a tile of side x side zeros, deflated a thousandfold."""
    data = zlib.compress(bytes(side * side), 9)
    tags = {
        256: 1,
        257: 1,
        258: 8,
        259: 8,
        262: 1,
        277: 1,
        322: side,
        323: side,
        324: 8 + 2 + 10 * 12 + 4,
        325: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan: a hundred bytes each, that go over all of 64 million pixels."""
    content = encoded(Image.new("L", (8000, 8000), 90), "JPEG", progressive=True)
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * scans + content[-2:]


def icc_profile(red, green, blue, space: bytes = b"RGB ", gamma: float = 2.2) -> bytes:
    """An ICC profile, version 2.4: three primaries as XYZ (D50) with one gamma, or one grey curve."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    white = (0.9642, 1.0, 0.8249)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*white)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for name, primary in ((b"r", red), (b"g", green), (b"b", blue)):
            tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(*primary), name + b"TRC": curve}
    start, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value
    head = b"test" + struct.pack(">I", 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += fixed(*white) + bytes(48)
    return (
        struct.pack(">I", 4 + len(head) + 4 + len(table) + len(data))
        + head
        + struct.pack(">I", len(tags))
        + table
        + data
    )
