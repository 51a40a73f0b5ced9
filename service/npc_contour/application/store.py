"""The port to the store: one transaction changes state and defers the jobs that the change causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from npc_contour.domain.cases import CaseRecord, DeliveryRecord, Gate
from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState, SeriesState
from npc_contour.domain.pulls import PulledSeries, PullRequest, PullState
from npc_contour.domain.queries import Match
from npc_contour.domain.received import (
    Added,
    ArrivedImage,
    CommitmentRow,
    CommitmentState,
    Ending,
    KeptImage,
    Known,
    SealedFile,
    SeriesRecord,
)
from npc_contour.domain.series import InstanceHeader, Seal
from npc_contour.domain.status import Part
from npc_contour.domain.timeline import StoryLine, WebhookMessage, WebhookState
from npc_contour.domain.work import Attempts, Deaths, Job, JobKind, ParkedStep, SelfTestResult


class Transaction(Protocol):
    """Everything below happens together or not at all; StoreError when the database fails."""

    def defer(self, job: Job) -> None:
        """Do a job once the transaction is committed; a job that waits already is only moved earlier."""
        ...

    def tell(self, line: StoryLine) -> None:
        """Add a line to the story; webhooks that want to be told of it are told once this is committed."""
        ...

    def images_under_way(self, receiver: str) -> dict[str, str]:
        """Return SOP Instance UID → key of what the open associations of a receiver brought."""
        ...

    def forget_images(self, sop_instance_uids: Sequence[str]) -> None:
        """Take back images that were never answered, and series that have none left."""
        ...

    def end_associations(self, endings: Mapping[str, Ending], at: datetime) -> tuple[str, ...]:
        """Note their ends, by id; return the Series Instance UIDs they carried that are still being received."""
        ...

    def end_lost_associations(self, receiver: str, at: datetime) -> tuple[str, ...]:
        """End every open association of a receiver that died; return the series concerned."""
        ...

    def add_images(self, images: Sequence[ArrivedImage], at: datetime) -> tuple[Added, ...]:
        """Add images with their associations, series and studies; say of each what became of it.

        One whose UID is there already changes nothing.
        """
        ...

    def series(self, series_instance_uid: str, *, lock: bool = False) -> SeriesRecord | None:
        """Return one series; `lock` keeps others from changing it until the end of the transaction."""
        ...

    def series_of_study(self, study_instance_uid: str) -> tuple[SeriesRecord, ...]:
        """Return all series of a study."""
        ...

    def headers(self, series_instance_uid: str) -> tuple[InstanceHeader, ...]:
        """Return the images of a series."""
        ...

    def receiving_s(self, series_instance_uid: str) -> float:
        """Return how long the images of a series came in: from first to last of each association, not between them."""
        ...

    def set_series(self, series_instance_uid: str, state: SeriesState, reasons: Sequence[str], at: datetime) -> None:
        """Change the state of a series; once it is no more received, its study is due to be routed."""
        ...

    def set_whole(self, series_instance_uid: str, images: int, by: str) -> None:
        """Note that a person said of a series of so many images that it is whole."""
        ...

    def set_correction(self, series_instance_uid: str, at: datetime | None) -> None:
        """Note since when a person is asked whether images that came again count; None asks no more."""
        ...

    def set_patient_id(self, study_instance_uid: str, patient_id: str) -> None:
        """Correct the Patient ID of a study."""
        ...

    def take_turn(self, what: str) -> bool:
        """Keep others from doing something until the end of the transaction; return False where one is at it."""
        ...

    def lock_study(self, study_instance_uid: str) -> None:
        """Keep others from routing the study until the end of the transaction, at which it counts as routed."""
        ...

    def assigned(self, study_instance_uid: str) -> Mapping[str, Mapping[str, str]]:
        """Return pipeline → role → Series Instance UID, as a person said of a study."""
        ...

    def assigned_at(self, study_instance_uid: str) -> Mapping[str, datetime]:
        """Return pipeline → when that was said."""
        ...

    def assign(self, study_instance_uid: str, pipeline: str, roles: Mapping[str, str], by: str, at: datetime) -> None:
        """Replace what was said of a pipeline on a study; no roles at all forgets it."""
        ...

    def patient_id(self, study_instance_uid: str) -> str:
        """Return the Patient ID of a study; "" where the images have none."""
        ...

    def live_cases(self, study_instance_uid: str) -> tuple[CaseRecord, ...]:
        """Return the cases of a study that are not superseded."""
        ...

    def case(self, case_id: str, *, lock: bool = False) -> CaseRecord | None:
        """Return one case."""
        ...

    def add_case(self, case: CaseRecord) -> None:
        """Add a case."""
        ...

    def update_waiting_case(self, case: CaseRecord, at: datetime) -> None:
        """Replace state, inputs, waiting and reasons of a case that has no images yet."""
        ...

    def supersede(self, case_id: str, successor: str, at: datetime) -> None:
        """Let another case take the place of this one."""
        ...

    def set_case(self, case_id: str, state: CaseState, at: datetime, *, reasons: Sequence[str] | None = None) -> None:
        """Change the state of a case, and its reasons unless None."""
        ...

    def combine_later(self, case_id: str) -> None:
        """Note that a case becomes part of a combined structure set."""
        ...

    def add_structure_set(
        self, case_id: str, sop_instance_uid: str, key: str, report: dict[str, Any], at: datetime
    ) -> None:
        """Note a structure set; twice is once."""
        ...

    def structure_set_uid(self, case_id: str) -> str | None:
        """Return the SOP Instance UID of the structure set of a case; None before it is written."""
        ...

    def add_beside(self, case_id: str, what: Deliverable, sop_instance_uid: str, key: str) -> None:
        """Note measurements or a segmentation beside the structure set of a case; twice is once."""
        ...

    def add_delivery(
        self,
        case_id: str,
        destination: str,
        state: DeliveryState,
        message: str,
        at: datetime,
        what: Deliverable = Deliverable.RTSTRUCT,
    ) -> int | None:
        """Add a delivery; return its id, or None when the destination has one of this object of the case."""
        ...

    def delivery(self, delivery_id: int, *, lock: bool = False) -> DeliveryRecord | None:
        """Return one delivery."""
        ...

    def deliveries(self, case_id: str) -> tuple[DeliveryRecord, ...]:
        """Return all deliveries of a case."""
        ...

    def set_delivery(
        self,
        delivery_id: int,
        state: DeliveryState,
        at: datetime,
        *,
        attempts: int,
        next_try_at: datetime | None,
        status: int | None,
        message: str,
    ) -> None:
        """Change a delivery."""
        ...

    def deliver_again(
        self, delivery_id: int, due_at: datetime, at: datetime, *, message: str, fresh: bool = False
    ) -> None:
        """Queue a delivery anew; `fresh` also begins the time anew after which it is given up."""
        ...

    def block_deliveries(self, case_id: str, message: str, at: datetime) -> None:
        """Send nothing more of a case that is still queued."""
        ...

    def ask_later(self, delivery_id: int, ask_at: datetime | None, at: datetime, *, message: str) -> None:
        """Note when a destination is asked (again) whether it holds the object; None asks no more."""
        ...

    def begin_ask(self, delivery_id: int, transaction_uid: str) -> None:
        """Note a question before it is put, so that an answer on another association finds it."""
        ...

    def delivery_of_transaction(self, transaction_uid: str) -> DeliveryRecord | None:
        """Return the delivery that a storage commitment transaction asked about."""
        ...

    def set_verified(self, delivery_id: int, by: str, at: datetime) -> None:
        """Note that a destination has proved that it holds the object."""
        ...

    def pass_gate(self, destination: str, at: datetime, lease_s: float) -> Gate:
        """Return whether a destination may be called; while it is down, one caller at a time passes."""
        ...

    def destination_failed(
        self, destination: str, asked_at: datetime, at: datetime, *, pauses_s: tuple[float, float], message: str
    ) -> datetime:
        """Note that a destination was of no use; return when it is tried again.

        Args:
            destination: its name.
            asked_at: when the try began: of several at once only one counts.
            at: now.
            pauses_s: the first pause, doubled after each further failure, and the longest.
            message: why.
        """
        ...

    def destination_answered(self, destination: str, at: datetime) -> bool:
        """Note that a destination is of use; return whether it was down. What waits for it is due at once then."""
        ...

    def pause_destination(self, destination: str, reason: str, at: datetime) -> bool:
        """Send nothing to a destination; return False when that is so already."""
        ...

    def resume_destination(self, destination: str, at: datetime) -> bool:
        """Send to a destination again, at once; return False when it was not paused."""
        ...

    def hold_case(self, case_id: str, reason: str, at: datetime) -> None:
        """Keep a case from going on; "" lets it."""
        ...

    def set_outdated(self, case_id: str) -> None:
        """Note that images of a case were replaced: routing lets another take its place."""
        ...

    def route_again(self, case_id: str, at: datetime) -> None:
        """Let a case without images be routed anew, without waiting for more."""
        ...

    def called_ae_titles(self, series_instance_uids: Sequence[str]) -> frozenset[str]:
        """Return the AE titles of ours under which series came."""
        ...

    def studies_with_old_images(
        self, before: datetime, promised_before: datetime | None, limit: int
    ) -> tuple[str, ...]:
        """Return studies whose images may be deleted: settled, and unchanged since `before`.

        None of their images was promised to be kept since `promised_before`; None: ever.
        """
        ...

    def cases_with_old_files(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Return cases whose files may be deleted: their study is settled, and unchanged since `before`."""
        ...

    def studies_with_old_rows(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Return studies of which only rows are left, unchanged since `before`."""
        ...

    def lock_settled_study(self, study_instance_uid: str) -> None:
        """Keep images of a study from being added or routed until the end of the transaction."""
        ...

    def expire_images(self, study_instance_uid: str, reason: str) -> int:
        """Forget the images of a study and note their files for deletion; the same images may come anew."""
        ...

    def expired_keys(self) -> tuple[str, ...]:
        """Return the files that are to be deleted."""
        ...

    def forget_keys(self, keys: Sequence[str]) -> None:
        """Note that files are deleted."""
        ...

    def expire_case_files(self, case_id: str, at: datetime) -> None:
        """Note that the files of a case are deleted."""
        ...

    def delete_study(self, study_instance_uid: str) -> None:
        """Delete every row of a study; StoreError when another part of the service still refers to it."""
        ...

    def add_disk_sample(self, at: datetime, free_bytes: int, forget_before: datetime) -> None:
        """Note how much of the disk is free, and forget old notes."""
        ...

    def lock_installation(self) -> Known:
        """Return what the database says of its installation; others wait until the end of the transaction."""
        ...

    def installation_id(self) -> str:
        """Return the id of the installation; "" before its first start."""
        ...

    def set_installation(self, installation_id: str, *, has_spool: bool) -> None:
        """Note the installation's id, and whether it lies in the spool."""
        ...

    def instance_keys(self) -> frozenset[str]:
        """Return the keys of all images that rows know."""
        ...

    def lose_instances(self, keys: Sequence[str], why: str, at: datetime) -> tuple[tuple[str, str, int], ...]:
        """Forget images, and hold their series until they come again; return (study, series, how many) of each."""
        ...

    def missing_images(self, series_instance_uid: str) -> tuple[tuple[str, int], ...]:
        """Return (why, how many) of the images of a series that were forgotten and have not come again."""
        ...

    def images_came_back(self, study_instance_uid: str) -> frozenset[str]:
        """Return the series of a study of which forgotten images came again since this was last asked."""
        ...

    def seal_of_image(self, sop_instance_uid: str) -> Seal | None:
        """Return what the file of an image must hold, `NOT_NOTED` where nobody noted it; None where there is no row."""
        ...

    def seal_of_artefact(self, key: str) -> Seal | None:
        """Return what an artefact must hold; None where a former version wrote it."""
        ...

    def seal_artefact(self, case_id: str, key: str, seal: Seal) -> None:
        """Note what an artefact must hold."""
        ...

    def count_damaged(self, key: str, case_id: str) -> int:
        """Note that an artefact was found damaged or gone; return how often it was."""
        ...

    def written_keys(self, case_id: str) -> tuple[str, ...]:
        """Return the artefacts of a case that may be sent; () before it is contoured."""
        ...

    def sealed_images(self) -> tuple[SealedFile, ...]:
        """Return what every image must hold, those first that were compared longest ago, or never."""
        ...

    def sealed_artefacts(self) -> tuple[SealedFile, ...]:
        """Return what every artefact of a case that has its files must hold, those first that were never compared."""
        ...

    def note_checked(self, files: Sequence[SealedFile], at: datetime) -> None:
        """Note that files hold what they must; of images of which nothing was noted, also what that is."""
        ...

    def count_attempt(self, kind: JobKind, key: str, at: datetime) -> Attempts:
        """Count one more attempt of a step; return how many there are with it."""
        ...

    def uncount_attempt(self, kind: JobKind, key: str) -> None:
        """Take back the last attempt: it was none. What was before it stays."""
        ...

    def deaths(self, kind: JobKind, key: str) -> Deaths | None:
        """Return how often a step took its process down, if it did so the last time that it was begun; else None."""
        ...

    def attempts(self, kind: JobKind, key: str) -> int:
        """Return how often a step was begun since it last succeeded."""
        ...

    def attempt_message(self, kind: JobKind, key: str, message: str) -> None:
        """Note why the last attempt failed."""
        ...

    def clear_attempts(self, kind: JobKind, key: str) -> bool:
        """Forget the attempts: the step succeeded, or begins anew. Return whether it was parked."""
        ...

    def park(self, kind: JobKind, key: str, reason: str, at: datetime) -> bool:
        """Do a step no more until something asks for it anew; return False when it was parked already."""
        ...

    def parked(self) -> tuple[ParkedStep, ...]:
        """Return all parked steps, oldest first."""
        ...

    def add_self_test(self, result: SelfTestResult, forget_before: datetime) -> None:
        """Keep the result of a test of the networks, and forget old ones."""
        ...

    def last_self_test(self) -> SelfTestResult | None:
        """Return how the last test of the networks ended; None before the first."""
        ...

    def set_pull_rules(self, names: Sequence[str], at: datetime) -> None:
        """Let just these rules look: new ones at once, others when they were due, none besides."""
        ...

    def due_pull_rules(self, at: datetime) -> tuple[str, ...]:
        """Return the rules that should have looked by now."""
        ...

    def next_poll(self, name: str, at: datetime) -> None:
        """Note when a rule looks next."""
        ...

    def want_series(self, pacs: str, match: Match, at: datetime, *, again: bool = False) -> int | None:
        """Note that a series is to be fetched; return its id, or None when nothing is to be done about it.

        A series is fetched once, and again when the PACS has more images of it, or `again` asks for it.
        """
        ...

    def pulled_series(self, pull_id: int, *, lock: bool = False) -> PulledSeries | None:
        """Return one series that is or was to be fetched."""
        ...

    def set_pulled(self, pull_id: int, state: PullState, attempts: int, message: str, at: datetime) -> None:
        """Change the state of one."""
        ...

    def set_counted(self, pull_id: int, images: int) -> None:
        """Note that the PACS names so many images of it, where that is more than it counted."""
        ...

    def counted_by_pacs(self, series_instance_uid: str) -> int | None:
        """Return how many images of a series a PACS has that did not give all of them yet; None without one."""
        ...

    def add_pull_request(
        self, pacs: str, study_instance_uid: str, series_instance_uids: Sequence[str], by: str, at: datetime
    ) -> int:
        """Note that a program asks for a study; return the request's id."""
        ...

    def pull_requests_waiting(self) -> int:
        """Return how many requests no PACS has answered yet."""
        ...

    def pull_request(self, request_id: int) -> PullRequest | None:
        """Return one request."""
        ...

    def set_pull_request(self, request: PullRequest, at: datetime) -> None:
        """Change state, attempts, message and series of one."""
        ...

    def set_webhooks(self, events: Mapping[str, Sequence[str]]) -> None:
        """Let just these hooks be told, each of its events."""
        ...

    def webhook_message(self, message_id: str) -> WebhookMessage | None:
        """Return one message."""
        ...

    def webhook_messages(self, state: WebhookState | None, part: Part) -> tuple[WebhookMessage, ...]:
        """Return messages, newest first; None takes every state."""
        ...

    def set_webhook_message(
        self,
        message_id: str,
        state: WebhookState,
        status: int | None,
        message: str,
        at: datetime,
        next_try_at: datetime | None,
    ) -> None:
        """Note a try and what it came to."""
        ...

    def renew_webhook_message(self, message_id: str, at: datetime) -> None:
        """Begin the tries of a message again; its id stays."""
        ...

    def add_commitment(
        self, transaction_uid: str, calling_ae_title: str, objects: Sequence[tuple[str, str]], at: datetime
    ) -> int | None:
        """Note a request for storage commitment; return its id, or None when this sender used the UID before."""
        ...

    def commitment(self, commitment_id: int) -> CommitmentRow | None:
        """Return one request for storage commitment."""
        ...

    def set_commitment(
        self, commitment_id: int, state: CommitmentState, attempts: int, message: str, at: datetime
    ) -> None:
        """Change the state of a request for storage commitment."""
        ...

    def promise_instances(self, sop_instance_uids: Sequence[str], at: datetime) -> dict[str, KeptImage]:
        """Note that a sender is promised to have these images kept; return those we have by UID.

        None of them is being deleted, and none will be for `retention.committed_days`.
        """
        ...

    def jobs_missing(self) -> tuple[Job, ...]:
        """Return what should be done by the state of rows but is neither queued nor being done, nor parked."""
        ...


class Store(Protocol):
    """State that survives."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commit at the end of the block, roll back when it raises."""
        ...

    def add_to_open_series(
        self, images: Sequence[ArrivedImage], at: datetime, meanwhile: Callable[[], None]
    ) -> tuple[Added, ...] | None:
        """Add images by one committed statement where all their series are being received, as `add_images` does.

        Args:
            images: to add.
            at: when they came.
            meanwhile: called once, while the database works; what it raises is raised when the database is done.

        Returns:
            What became of each; None where nothing was done, because a series is not being received.
        """
        ...

    def claim(self, kind: JobKind, key: str) -> AbstractContextManager[bool]:
        """Take sole charge of one row for a step; gives False when another process that lives has it."""
        ...

    def slot(self, at_once: int) -> AbstractContextManager[bool]:
        """Hold one of `at_once` places of the whole installation; gives False when none is free."""
        ...
