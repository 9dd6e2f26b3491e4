"""Draw the book's picture (image → encoder → code → decoder → image) and its logo into book/_static.

The picture is a true one: the code is the 64 numbers that its two formulas give. The encoder keeps the 64 lowest
frequencies of a cosine transform of a 28×28 digit, the decoder turns them back. From chapter 1 on both are learned.

    python book/tools/picture.py
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

STATIC = Path(__file__).resolve().parents[1] / "_static"
SIDE, KEPT = 28, 64
ALT = "A digit three goes through an encoder into 64 numbers, and through a decoder back to a softer three"
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"'
LIGHT = {"text": "#24303c", "soft": "#5b6875", "frame": "#c3ccd5", "encoder": "#0072B2", "decoder": "#D55E00"}
DARK = {"text": "#e6ebf0", "soft": "#a9b4bf", "frame": "#55616d", "encoder": "#3d9bd6", "decoder": "#f08a3c"}


def digit() -> np.ndarray:
    """Return a three in the manner of MNIST: white strokes with soft edges on black, (28, 28) in [0, 1]."""
    upper = _arc(13.2, 9.4, 5.2, 4.3, -150, 95)
    lower = _arc(13.0, 18.2, 6.2, 4.9, -80, 150)
    points = np.concatenate([upper, lower])
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    distance = np.hypot(rows[..., None] - points[:, 1], columns[..., None] - points[:, 0]).min(-1)
    return np.clip(1.75 - distance, 0, 1)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> np.ndarray:
    t = np.radians(np.linspace(start, end, 200))
    slant = 1.2 * np.sin(t)  # a hand leans to the right
    return np.stack([x + rx * np.cos(t) - 0.12 * slant, y + ry * np.sin(t)], axis=1)


def cosines() -> np.ndarray:
    """Return the orthonormal matrix of the discrete cosine transform, (28, 28), one frequency per row."""
    k, n = np.mgrid[0:SIDE, 0:SIDE]
    rows = np.sqrt(2 / SIDE) * np.cos(np.pi * (n + 0.5) * k / SIDE)
    rows[0] /= np.sqrt(2)
    return rows


def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 64 coefficients of lowest frequency, and where they stand in the transform."""
    c = cosines()
    k, n = np.mgrid[0:SIDE, 0:SIDE]
    order = np.argsort((k + n + 0.01 * np.abs(k - n)).ravel(), kind="stable")[:KEPT]
    return (c @ x @ c.T).ravel()[order], order


def decode(z: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the image of 64 coefficients, (28, 28), cut to [0, 1]."""
    c = cosines()
    spectrum = np.zeros(SIDE * SIDE)
    spectrum[order] = z
    return np.clip(c.T @ spectrum.reshape(SIDE, SIDE) @ c, 0, 1)


def picture(colours: dict[str, str]) -> str:
    """Return the picture as SVG, for one of the two colour schemes."""
    x = digit()
    z, order = encode(x)
    parts = [
        _image(x, 10, 40),
        _funnel(196, 30, narrow_right=True, colour="#0072B2", label="encoder"),
        _code(z, 342, 68, colours),
        _funnel(468, 30, narrow_right=False, colour="#D55E00", label="decoder"),
        _image(decode(z, order), 612, 40),
        _label("picture", "784 numbers", 90, colours),
        _label("code", "64 numbers", 394, colours),
        _label("picture again", "784 numbers", 692, colours),
    ]
    for left in (175, 324, 449, 594):
        parts.append(
            f'<path d="M{left} 120h14m-6 -6l6 6l-6 6" fill="none" stroke="{colours["soft"]}" stroke-width="2.5"/>'
        )
    body = "\n".join(parts).replace("FRAME", colours["frame"])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 782 268" role="img" {FONT}>\n<title>{ALT}</title>'
    return f"{head}\n{body}\n</svg>\n"


def _image(x: np.ndarray, left: int, top: int) -> str:
    stream = io.BytesIO()
    # Each pixel 6×6, so that every viewer shows squares whatever it thinks of smoothing.
    Image.fromarray(np.kron(np.round(x * 255), np.ones((6, 6))).astype(np.uint8)).save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<image x="{left}" y="{top}" width="160" height="160" href="data:image/png;base64,{data}"/>'
        f'<rect x="{left}" y="{top}" width="160" height="160" rx="3" fill="none" stroke="FRAME" stroke-width="1.5"/>'
    )


def _funnel(left: int, top: int, *, narrow_right: bool, colour: str, label: str) -> str:
    wide, narrow, middle, width = 90, 38, top + 90, 122
    first, second = (wide, narrow) if narrow_right else (narrow, wide)
    shape = f"M{left} {middle - first}L{left + width} {middle - second}V{middle + second}L{left} {middle + first}Z"
    return (
        f'<path d="{shape}" fill="{colour}" stroke="{colour}" stroke-width="6" stroke-linejoin="round"/>'
        f'<text x="{left + width / 2}" y="{middle + 7}" font-size="23" font-weight="600" fill="#fff" '
        f'text-anchor="middle">{label}</text>'
    )


def _code(z: np.ndarray, left: int, top: int, colours: dict[str, str]) -> str:
    cells = []
    strength = np.sign(z) * np.sqrt(np.abs(z) / np.abs(z).max())
    for i, value in enumerate(strength):
        colour = colours["decoder"] if value > 0 else colours["encoder"]
        x, y = left + 13 * (i % 8), top + 13 * (i // 8)
        cells.append(
            f'<rect x="{x}" y="{y}" width="11.5" height="11.5" rx="2" fill="{colour}" '
            f'fill-opacity="{abs(value):.2f}" stroke="FRAME" stroke-width="1"/>'
        )
    return "".join(cells)


def _label(name: str, size: str, middle: int, colours: dict[str, str]) -> str:
    place = f'x="{middle}" text-anchor="middle"'
    return (
        f'<text {place} y="232" font-size="23" font-weight="600" fill="{colours["text"]}">{name}</text>'
        f'<text {place} y="259" font-size="20" fill="{colours["soft"]}">{size}</text>'
    )


def logo() -> str:
    """Return the logo as SVG: the two funnels and the code between them."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img">\n'
        "<title>Two funnels that meet in a narrow code</title>\n"
        '<path d="M5 8L25 24V40L5 56Z" fill="#0072B2" stroke="#0072B2" stroke-width="4" stroke-linejoin="round"/>\n'
        '<path d="M59 8L39 24V40L59 56Z" fill="#D55E00" stroke="#D55E00" stroke-width="4" stroke-linejoin="round"/>\n'
        '<rect x="29.5" y="22" width="5" height="5" rx="1" fill="#8a97a4"/>\n'
        '<rect x="29.5" y="29.5" width="5" height="5" rx="1" fill="#8a97a4"/>\n'
        '<rect x="29.5" y="37" width="5" height="5" rx="1" fill="#8a97a4"/>\n'
        "</svg>\n"
    )


if __name__ == "__main__":
    (STATIC / "autoencoder-light.svg").write_text(picture(LIGHT), encoding="utf-8")
    (STATIC / "autoencoder-dark.svg").write_text(picture(DARK), encoding="utf-8")
    (STATIC / "logo.svg").write_text(logo(), encoding="utf-8")
