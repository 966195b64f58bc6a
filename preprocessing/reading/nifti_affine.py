"""Read the affine of a NIfTI file like the format's reference code.

nibabel refuses rounding errors that every other reader accepts, so this follows
https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h ("3D IMAGE (VOLUME) ORIENTATION").
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Rejected

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

Affine = npt.NDArray[np.float64]

NEARLY_HALF_A_TURN = 1e-7  # the reference code treats smaller values of a as 0
OFF = 1e-3  # deviation of the quaternion's length; rounding errors are smaller


def best_affine(header: "Nifti1Header") -> tuple[Affine, tuple[str, ...]]:
    """Return the affine from voxels to millimetres: the sform, else the qform, else voxel sizes.

    Parameters
    ----------
    header : nibabel.Nifti1Header
        A header of NIfTI-1 or NIfTI-2.

    Returns
    -------
    affine : ndarray
        float64 [4, 4], finite.
    notes : tuple of str
        What is unusual about it.

    Raises
    ------
    Rejected
        A required value is not finite; the message names the fields.
    """
    with np.errstate(all="ignore"):  # a damaged header may overflow
        affine, notes = _affine(header)
    if not np.isfinite(affine).all():
        raise Rejected("damaged NIfTI: its affine is not finite; correct it")
    return affine, notes


def _affine(header: "Nifti1Header") -> tuple[Affine, tuple[str, ...]]:
    notes: list[str] = []
    if header["sform_code"] > 0:
        rows = np.array([_finite(header, f"srow_{axis}") for axis in "xyz"])
        solid = abs(np.linalg.det(rows[:, :3])) > 0
        if solid or header["qform_code"] <= 0:
            return np.vstack([rows, [0, 0, 0, 1]]), ()
        notes.append("sform has no extent; using the qform")
    if header["qform_code"] > 0:
        return _of_quaternion(header, notes), tuple(notes)
    _finite(header, "pixdim")
    return header.get_base_affine().astype(np.float64), tuple(notes)


def _of_quaternion(header: "Nifti1Header", notes: list[str]) -> Affine:
    """Convert like nifti_quatern_to_mat44, which sets an impossible fourth number to 0."""
    b, c, d = (float(_finite(header, f"quatern_{name}")[0]) for name in "bcd")
    length = b * b + c * c + d * d
    if 1 - length < NEARLY_HALF_A_TURN:
        if length > (1 + OFF) ** 2:
            notes.append(f"quatern_b, _c, _d are {length**0.5:.4g} long, not 1; normalised")
        a, scale = 0.0, length**-0.5
        b, c, d = b * scale, c * scale, d * scale
    else:
        a = (1 - length) ** 0.5
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    sizes = _finite(header, "pixdim")
    steps = np.where(sizes[1:] > 0, sizes[1:], 1.0)
    steps[2] *= -1 if sizes[0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = turn * steps
    affine[:3, 3] = [float(_finite(header, f"qoffset_{axis}")[0]) for axis in "xyz"]
    return affine


def _finite(header: "Nifti1Header", field: str) -> npt.NDArray[np.float64]:
    # Only the three sizes of pixdim are used.
    values = np.atleast_1d(np.asarray(header[field], np.float64))[:4]
    if not np.isfinite(values).all():
        told = ", ".join(f"{value:g}" for value in values)
        raise Rejected(f"damaged NIfTI: {field} is {told}; correct it")
    return values
