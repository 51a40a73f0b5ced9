"""A synthetic head-and-neck patient with nasopharyngeal carcinoma: drawn from a seed, scanned on any grid."""

from npc_phantom.patient import Patient, draw, uid
from npc_phantom.rendering import Phantom, render
from npc_phantom.scan import PhantomOptions

__all__ = ["Patient", "Phantom", "PhantomOptions", "draw", "render", "uid"]
