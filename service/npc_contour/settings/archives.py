"""PACS that are asked for images, and what is fetched from them without being asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from npc_contour.domain.queries import QueryRoot, Retrieval
from npc_contour.patterns import check_pattern, first_match
from npc_contour.settings.base import AeTitle, Port, Seconds, Strict


class PacsSettings(Strict):
    """A PACS: DICOM node, DICOMweb services, or both."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,32}$")
    ae_title: AeTitle
    host: str
    port: Port
    tls: bool = False
    tls_name: str = ""
    root: QueryRoot = QueryRoot.STUDY
    retrieve: Retrieval = Retrieval.GET
    timeout_s: Seconds = 60.0
    web_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    web_token_file: Path | None = None
    web_ca_file: Path | None = None

    @model_validator(mode="after")
    def _web_has_url(self) -> PacsSettings:
        if self.retrieve is Retrieval.WEB and not self.web_url:
            raise ValueError('retrieve = "web" needs web_url')
        return self


class PullSettings(Strict):
    """What the service fetches by itself: new series of a kind, looked for again and again."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,32}$")
    pacs: str
    modality: str = Field(default="CT", pattern="^[A-Z]{2,4}$")
    description_pattern: str | None = None
    exclude_pattern: str | None = None
    days_back: int = Field(default=1, ge=0, le=365)
    min_images: int = Field(default=20, ge=0)
    every_s: float = Field(default=300.0, ge=5)

    @field_validator("description_pattern", "exclude_pattern")
    @classmethod
    def _can_be_matched(cls, value: str | None) -> str | None:
        return None if value is None else check_pattern(value)

    def takes(self, description: str) -> bool:
        """Whether a series of this description is fetched; case is ignored."""
        if self.exclude_pattern and first_match(self.exclude_pattern, description) is not None:
            return False
        return first_match(self.description_pattern or "", description) is not None
