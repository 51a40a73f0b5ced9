"""The one place where ports meet adapters: the service and its processes, and contouring a folder without them."""

from npc_contour.app.folder import FolderResult, segment_folder
from npc_contour.app.probes import probes_of
from npc_contour.app.roles import ROLES, run_role
from npc_contour.app.runtime import Runtime
from npc_contour.app.supervisor import serve

__all__ = ["ROLES", "FolderResult", "Runtime", "probes_of", "run_role", "segment_folder", "serve"]
