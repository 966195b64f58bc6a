"""Slow, obvious twins of what is fast: tests compare the two."""

import math

import numpy as np

MASK = 2**64 - 1


def philox4x64(counter, key):
    """One block of Philox4x64-10 (Salmon et al. 2011, section 3.3) on Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k[0], b & MASK, (a >> 64) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def latent(seed, label, index, length):
    """One latent, value by value."""
    out = []
    for block in range(-(-length // 4)):
        words = philox4x64((block, index, 0, 0), (seed, label))
        for u, v in (words[:2], words[2:]):
            radius = math.sqrt(-2 * math.log(((u >> 11) + 1) / 2**53))
            angle = 2 * math.pi * ((v >> 11) / 2**53)
            out += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.array(out[:length], np.float32)


def equalize(image):
    """Global histogram equalisation, pixel by pixel, as OpenCV defines it."""
    values = image.ravel().tolist()
    lowest = min(values)
    rest = len(values) - values.count(lowest)
    if rest == 0:
        return image.copy()
    scale = np.float32(255) / np.float32(rest)
    below = {g: sum(v <= g for v in values) - values.count(lowest) for g in set(values)}
    return np.array([round(float(np.float32(below[v]) * scale)) for v in values], np.uint8).reshape(
        image.shape
    )


def kernel_distance(x, y):
    """Unbiased KID of two sets of features, pair by pair."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    x, y = x.astype(np.float64), y.astype(np.float64)
    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def translate(image, dy, dx, fill):
    """Read a shifted image, pixel by pixel: out[y, x] = image[y + dy, x + dx]."""
    out = np.full_like(image, fill)
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                out[y, x] = image[y + dy, x + dx]
    return out
