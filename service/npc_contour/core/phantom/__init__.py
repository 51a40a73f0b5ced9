"""A synthetic head-and-neck patient with nasopharyngeal carcinoma: drawn from a seed, scanned on any grid."""

from npc_contour.core.phantom.patient import Patient, PhantomOptions, draw, uid
from npc_contour.core.phantom.rendering import Phantom, render

__all__ = ["Patient", "Phantom", "PhantomOptions", "draw", "render", "uid"]
