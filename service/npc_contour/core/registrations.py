"""How to get from one frame of reference to another over the registrations of a study."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from npc_contour.domain.registration import RigidMove


def way_between(moves: Sequence[RigidMove], source_frame_uid: str, target_frame_uid: str) -> RigidMove | None:
    """Return the shortest chain of registrations; None when none links the two frames.

    Of several registrations of the same two frames the last one given counts: pass them oldest first.
    """
    edges = {(move.source_frame_uid, move.target_frame_uid): move for move in moves}
    edges.update({(m.target_frame_uid, m.source_frame_uid): m.inverse() for m in moves})
    edges.update({(m.source_frame_uid, m.target_frame_uid): m for m in moves})
    reached: dict[str, RigidMove | None] = {source_frame_uid: None}
    queue = deque([source_frame_uid])
    while queue:
        here = queue.popleft()
        for (source, target), move in edges.items():
            if source != here or target in reached:
                continue
            before = reached[here]
            reached[target] = move if before is None else before.then(move)
            queue.append(target)
    return reached.get(target_frame_uid)
