"""Shape of one mask from the mesh along its voxels, as the NPC-MRI data set describes tumours.

Marching cubes at the middle between outside and inside, with scikit-image, which gives the numbers of the Visualization
Toolkit's mesh. Masks are (z, y, x) bool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area

from npc_contour.domain.geometry import Vec3

INSIDE = 0.5
_MANY_POINTS = 600


@dataclass(frozen=True, slots=True)
class Morphology:
    """The shape of one mask.

    Attributes:
        volume_mm3: enclosed by the mesh.
        surface_mm2: area of the mesh.
        diameter_mm: largest distance between two points of the mesh.
    """

    volume_mm3: float
    surface_mm2: float
    diameter_mm: float

    @property
    def regularity(self) -> float:
        """Volume over that of the sphere with the same surface: 1 for a sphere, below 1 for all else."""
        radius = math.sqrt(self.surface_mm2 / (4.0 * math.pi))
        return self.volume_mm3 / (4.0 / 3.0 * math.pi * radius**3)


def morphology(mask: npt.NDArray[np.bool_], spacing_zyx_mm: Vec3) -> Morphology:
    """Return the shape of a mask, closed where the volume ends.

    Raises:
        ValueError: the mask is empty.
    """
    padded = np.pad(cropped(mask).astype(np.float32), 1)
    vertices, faces, _, _ = marching_cubes(padded, INSIDE, spacing=spacing_zyx_mm)
    return of_mesh(vertices, faces)


def cropped(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the part of a mask that its voxels span.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("an empty mask has no surface")
    spans = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return mask[tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)]


def of_mesh(vertices: npt.NDArray[np.float32], faces: npt.NDArray[np.int32]) -> Morphology:
    """Return the shape of what a closed mesh of triangles, (n, 3) in mm and (m, 3), encloses."""
    corners = vertices[faces].astype(np.float64)
    volume = abs(float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum())) / 6.0
    return Morphology(volume, float(mesh_surface_area(vertices, faces)), _diameter(np.asarray(vertices, np.float64)))


def _diameter(points: npt.NDArray[np.float64]) -> float:
    """Return the largest distance between two points; the farthest pair lies on the convex hull."""
    try:
        hull = points[ConvexHull(points).vertices]
    except QhullError:
        hull = np.unique(points, axis=0)
    if len(hull) > _MANY_POINTS:
        # Of a fine mesh of something round, those that reach farthest in as many directions.
        number = np.arange(_MANY_POINTS) + 0.5
        polar, turn = np.arccos(1.0 - 2.0 * number / _MANY_POINTS), math.pi * (1.0 + math.sqrt(5.0)) * number
        around = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
        hull = hull[np.unique((around.T @ hull.T).argmax(axis=1))]
    return float(pdist(hull).max())
