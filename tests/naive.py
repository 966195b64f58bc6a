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


def kernel_distance(x, y, groups=None):
    """Unbiased KID of two sets of features, pair by pair; `groups` are those of x."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    x, y = x.astype(np.float64), y.astype(np.float64)
    n, m = len(x), len(y)
    groups = range(n) if groups is None else groups
    apart = [(i, j) for i in range(n) for j in range(n) if groups[i] != groups[j]]
    xx = sum(k(x[i], x[j]) for i, j in apart) / len(apart)
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


def equalize_deep(image, low, high):
    """Equalise values clipped to low..high over 0..65535, value by value, in exact arithmetic."""
    values = np.clip(image.astype(int), low, high)
    lowest = values.min()
    rest = (values > lowest).sum()
    if rest == 0:
        return np.zeros(image.shape)
    below = {v: ((values <= v) & (values > lowest)).sum() for v in np.unique(values)}
    return np.array([65535 * below[v] / rest for v in values.ravel()]).reshape(image.shape)


def shrink(image, rows, columns):
    """Average over areas: each source pixel by the part of it that is covered."""
    height, width = image.shape

    def parts(length, wanted, i):
        left, right = i * length / wanted, (i + 1) * length / wanted
        return [max(0.0, min(right, x + 1) - max(left, x)) for x in range(length)]

    down = np.array([parts(height, rows, y) for y in range(rows)])
    across = np.array([parts(width, columns, x) for x in range(columns)])
    return down @ image.astype(float) @ across.T / (height * width / rows / columns)


def clahe(image, clip, tiles, low=0, high=255):
    """CLAHE with 256 bins over low..high, joined linearly: levels 0..1, pixel by pixel."""
    height, width = image.shape
    whole = height % tiles == 0 == width % tiles
    rows, columns = height // tiles + (not whole), width // tiles + (not whole)
    padded = np.pad(
        np.clip(image.astype(int), low, high),
        ((0, rows * tiles - height), (0, columns * tiles - width)),
        "reflect",
    )
    through = (padded - low + 1) * 256 / (high - low + 1)  # bins up to the end of each value

    def table(ty, tx):
        tile = through[ty * rows : (ty + 1) * rows, tx * columns : (tx + 1) * columns]
        counts = [0] * 256
        for value in tile.ravel():
            counts[max(math.ceil(value) - 1, 0)] += 1
        limit = max(int(clip * tile.size / 256), 1)
        clipped = sum(max(c - limit, 0) for c in counts)
        counts = [min(c, limit) + clipped // 256 for c in counts]
        rest = clipped % 256
        for k in range(rest):
            counts[k * max(256 // rest, 1)] += 1
        return np.concatenate([[0], np.cumsum(counts)]) / tile.size

    tables = {(ty, tx): table(ty, tx) for ty in range(tiles) for tx in range(tiles)}
    out = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            fy, fx = y / rows - 0.5, x / columns - 0.5
            for ty, wy in ((math.floor(fy), 1 - fy % 1), (math.floor(fy) + 1, fy % 1)):
                for tx, wx in ((math.floor(fx), 1 - fx % 1), (math.floor(fx) + 1, fx % 1)):
                    tile = min(max(ty, 0), tiles - 1), min(max(tx, 0), tiles - 1)
                    level = np.interp(through[y, x], np.arange(257), tables[tile])
                    out[y, x] += wy * wx * level
    return out


def precision_recall(real, synthetic, k=3):
    """Improved precision and recall (Kynkäänniemi et al. 2019), pair by pair."""

    def share(queries, centres):
        radii = [
            sorted(math.dist(a, b) for j, b in enumerate(centres) if i != j)[k - 1]
            for i, a in enumerate(centres)
        ]
        inside = [any(math.dist(q, a) <= r for a, r in zip(centres, radii)) for q in queries]
        return sum(inside) / len(inside)

    return share(synthetic, real), share(real, synthetic)


def ms_ssim(a, b, weights):
    """Multi-scale SSIM (Wang et al. 2003) of one pair, scale by scale, over full windows only."""
    from scipy.ndimage import gaussian_filter

    def blurred(image):
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

    a, b, product = a.astype(np.float64), b.astype(np.float64), 1.0
    for scale, weight in enumerate(weights):
        x, y = blurred(a), blurred(b)
        covariance = blurred(a * b) - x * y
        variances = blurred(a * a) - x * x + blurred(b * b) - y * y
        term = (2 * covariance + 58.5225) / (variances + 58.5225)
        if scale == len(weights) - 1:
            term *= (2 * x * y + 6.5025) / (x * x + y * y + 6.5025)
        product *= max(term.mean(), 0) ** weight
        a, b = ((i[::2, ::2] + i[1::2, ::2] + i[::2, 1::2] + i[1::2, 1::2]) / 4 for i in (a, b))
    return product


def aligned_correlation(query, scan, flip, at, border):
    """Correlation of a scan's window with a query sampled at an alignment, pixel by pixel."""
    a, b, x, y = at
    side = len(scan)
    centre = (side - 1) / 2
    mine, theirs = [], []
    for row in range(border, side - border):
        for column in range(border, side - border):
            # Where in the query this pixel of the scan comes from; outside, its edge goes on.
            right, down = column - centre, row - centre
            u = min(max(a * right - b * down + centre + x, 0), side - 1)
            v = min(max(b * right + a * down + centre + y, 0), side - 1)
            i, j = min(int(v), side - 2), min(int(u), side - 2)
            columns = [(side - 1 - k if flip else k) for k in (j, j + 1)]
            top, bottom = (
                (1 - u + j) * query[k][columns[0]] + (u - j) * query[k][columns[1]]
                for k in (i, i + 1)
            )
            mine.append(scan[row][column])
            theirs.append((1 - v + i) * top + (v - i) * bottom)
    return float(np.corrcoef(mine, theirs)[0, 1])


def best_correlation(query, scan, scales, shifts, border):
    """The highest correlation over all alignments of a grid, one by one."""
    return max(
        aligned_correlation(query, scan, flip, (scale, 0, x, y), border)
        for flip in (False, True)
        for scale in scales
        for x in shifts
        for y in shifts
    )


def attack_success(members, others, weights, rate):
    """Area under the ROC curve pair by pair, and the true positive rate at a false positive rate."""
    total = sum(weights) * len(members)
    auc = sum(w * ((m > o) + 0.5 * (m == o)) for m in members for o, w in zip(others, weights))
    best = 0.0
    for limit in [*members, *others]:
        false = sum(w for o, w in zip(others, weights) if o >= limit) / sum(weights)
        if false <= rate + 1e-12:
            best = max(best, sum(m >= limit for m in members) / len(members))
    return auc / total, best
