"""What every process makes of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from npc_contour.adapters.dicom.read.reader import ReadImage
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.profiles import profile_path, read_profile
from npc_contour.app.runtime import Runtime
from npc_contour.app.tools import RtstructWriter
from npc_contour.catalog import (
    Catalog,
    read_catalog,
    read_pipelines,
    with_planning_role,
    with_role_changes,
)
from npc_contour.domain.profiles import Profile
from npc_contour.settings import Settings


def spool_of(runtime: Runtime, *, lane: str = "") -> Spool:
    """Return the spool of the settings; `lane` begins the names of this process's files under way."""
    return spool_at(runtime.settings, lane=lane)


def spool_at(settings: Settings, *, lane: str = "") -> Spool:
    """Return the spool of the settings, for a verb beside the running service."""
    storage = settings.storage
    return Spool(storage.spool, min_free_mb=storage.min_free_mb, lane=lane)


def profile_of(settings: Settings) -> Profile:
    """Return how the site wants its RTSTRUCTs, checked against every pipeline of the product and the site's own.

    Raises:
        SettingsError: the profile is wrong or does not suit the pipelines; the message has every reason.
    """
    known = read_pipelines(settings.routing.own_files.values())
    return read_profile(profile_path(settings.rtstruct.profile), list(known.values()))


def writer_of(settings: Settings, read_image: ReadImage) -> RtstructWriter:
    """Return what writes the site's RTSTRUCTs.

    Args:
        settings: the site's.
        read_image: the file of an image.

    Raises:
        SettingsError: the profile is wrong.
    """
    wanted = settings.rtstruct
    return RtstructWriter(
        read_image,
        profile_of(settings),
        second_reader=wanted.second_reader == "rt-utils",
        segmentation=wanted.segmentation,
    )


def catalog_of(settings: Settings, pipelines: Sequence[str] | None = None) -> Catalog:
    """Return the pipelines and networks in use, with the site's own rules.

    Args:
        settings: the site's.
        pipelines: these; None takes the ones that the settings enable.

    Raises:
        CatalogError: a pipeline, a contract or a rule is wrong; the message names it.
    """
    enabled = settings.routing.pipelines if pipelines is None else pipelines
    catalog = read_catalog(settings.triton.model_repository, enabled=enabled, own=settings.routing.own_files)
    for rule in settings.routing.rules:
        catalog = with_role_changes(catalog, rule.pipeline, rule.role, rule.changes)
        if rule.planning:
            catalog = with_planning_role(catalog, rule.pipeline, rule.role)
    return catalog
