"""Draws the icon as a PNG: the bridge of `src/page/icon.svg`, on a plain ground.

    python3 packaging/icon.py FILE [SIZE]

Some clients show PNG only. The strokes are those of the SVG, whose curves become short lines. It
uses nothing but Python, so every machine draws the same pixels.
"""

import re
import struct
import sys
import zlib
from pathlib import Path

SVG = Path(__file__).resolve().parents[1] / "src" / "page" / "icon.svg"
GROUND, STROKE = (0x0B, 0x6B, 0x54), (0xFF, 0xFF, 0xFF)
# The drawing keeps this distance from the edge, and the corners have this radius, of 32.
MARGIN, CORNER = 4.0, 6.0
CURVE_STEPS = 24


def lines(path):
    """The segments of an SVG path of M, H, V and Q, in absolute and relative form."""
    found, x, y = [], 0.0, 0.0
    for command, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", text)]
        if command == "M":
            x, y = numbers
        elif command in "hHvV":
            dx = numbers[0] - (x if command == "H" else 0) if command in "hH" else 0
            dy = numbers[0] - (y if command == "V" else 0) if command in "vV" else 0
            found.append(((x, y), (x + dx, y + dy)))
            x, y = x + dx, y + dy
        elif command == "Q":
            for cx, cy, ex, ey in zip(*[iter(numbers)] * 4):
                last = (x, y)
                for step in range(1, CURVE_STEPS + 1):
                    t = step / CURVE_STEPS
                    a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
                    point = (a * x + b * cx + c * ex, a * y + b * cy + c * ey)
                    found.append((last, point))
                    last = point
                x, y = ex, ey
        else:
            raise SystemExit(f"icon.py does not know the path command {command}")
    return found


def distance(px, py, segment):
    (ax, ay), (bx, by) = segment
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    t = max(0.0, min(1.0, ((px - ax) * dx + (py - ay) * dy) / length)) if length else 0.0
    return ((px - ax - t * dx) ** 2 + (py - ay - t * dy) ** 2) ** 0.5


def covered(inside, scale):
    """The part of a pixel that is covered, from the distance of its middle to the edge."""
    return max(0.0, min(1.0, inside * scale + 0.5))


def pixels(size):
    """Rows of RGBA, without their filter bytes."""
    svg = SVG.read_text()
    segments = lines(re.search(r' d="([^"]+)"', svg).group(1))
    width = float(re.search(r'stroke-width="([\d.]+)"', svg).group(1))
    scale, shrink = size / 32, (32 - 2 * MARGIN) / 32
    rows = []
    for row in range(size):
        line = bytearray()
        for column in range(size):
            x, y = (column + 0.5) / scale, (row + 0.5) / scale
            dx, dy = (max(abs(v - 16) - 16 + CORNER, 0.0) for v in (x, y))
            ground = covered(CORNER - (dx * dx + dy * dy) ** 0.5, scale)
            sx, sy = (x - MARGIN) / shrink, (y - MARGIN) / shrink
            near = min(distance(sx, sy, segment) for segment in segments)
            stroke = covered((width / 2 - near) * shrink, scale)
            line += bytes(round(g + (s - g) * stroke) for g, s in zip(GROUND, STROKE))
            line.append(round(255 * ground))
        rows.append(bytes(line))
    return rows


def png(size):
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in pixels(size)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(png(int(sys.argv[2]) if len(sys.argv) > 2 else 512))
