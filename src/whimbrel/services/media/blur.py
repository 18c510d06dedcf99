"""BlurHash: a picture as some twenty characters, to be shown until the picture is there.

The scheme of https://blurha.sh (encoding version 1): a few cosine components of the picture in
linear light, the constant one exactly, the others in 19 steps each, written in base 83.
"""

from math import cos, pi

ACROSS, DOWN = 4, 3
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_LINEAR = [
    value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
    for value in range(256)
]

Colour = tuple[float, float, float]


def blurhash(pixels: bytes, width: int, height: int) -> str:
    """`pixels`: RGB, 3 bytes each, row by row; at least one pixel, better not over 1,000."""
    linear = [_LINEAR[value] for value in pixels]
    parts = [_component(linear, width, height, i, j) for j in range(DOWN) for i in range(ACROSS)]
    constant, waves = parts[0], parts[1:]
    largest = max(abs(value) for colour in waves for value in colour)
    step = max(0, min(82, int(largest * 166 - 0.5)))
    scale = (step + 1) / 166
    text = _base83((ACROSS - 1) + (DOWN - 1) * 9, 1) + _base83(step, 1)
    text += _base83(_rgb(constant), 4)
    return text + "".join(_base83(_steps(colour, scale), 2) for colour in waves)


def _component(linear: list[float], width: int, height: int, i: int, j: int) -> Colour:
    across = [cos(pi * i * x / width) for x in range(width)]
    red = green = blue = 0.0
    at = 0
    for y in range(height):
        down = cos(pi * j * y / height)
        for x in range(width):
            weight = across[x] * down
            red += weight * linear[at]
            green += weight * linear[at + 1]
            blue += weight * linear[at + 2]
            at += 3
    norm = (1 if i == j == 0 else 2) / (width * height)
    return red * norm, green * norm, blue * norm


def _rgb(colour: Colour) -> int:
    red, green, blue = (_srgb(value) for value in colour)
    return (red << 16) + (green << 8) + blue


def _srgb(value: float) -> int:
    value = max(0.0, min(1.0, value))
    curved = value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
    return int(curved * 255 + 0.5)


def _steps(colour: Colour, scale: float) -> int:
    """Three numbers from 0 to 18; the root gives small differences more steps."""
    red, green, blue = (_step(value / scale) for value in colour)
    return (red * 19 + green) * 19 + blue


def _step(value: float) -> int:
    root = abs(value) ** 0.5 if value >= 0 else -(abs(value) ** 0.5)
    return max(0, min(18, int(root * 9 + 9.5)))


def _base83(value: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        value, digit = divmod(value, 83)
        text = _DIGITS[digit] + text
    return text
