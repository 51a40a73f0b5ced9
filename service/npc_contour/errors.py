"""Every error the service raises on purpose.

AutocontourError
├── SettingsError            the site's TOML is wrong: refuse to start
├── CatalogError             a pipeline definition or network contract is wrong: refuse to start
├── AccountError             an account, password or token will not do: say why
├── IdentityError            the identity provider does not answer, or what it says does not hold: log in again
├── UnreadableError          a message of a stranger that a library stumbles over: answered with an error status
├── InstanceRefused          a received object is not what it says it is: answer its status, keep nothing
├── SpoolFullError           no room for an instance: answer 0xA700, the sender keeps it
├── SpoolForeignError        the spool is not this database's: refuse to start, mark nothing lost
├── CaseRefused              these images cannot be contoured: tell the clinic, do not retry
│   ├── SeriesGeometryError  the slices do not form one regular stack
│   ├── PixelDataError       the pixels cannot be decoded or are not what the header says
│   ├── VoxelFileError       a file of voxels is cut short, damaged, or holds no labels
│   └── NoPipelineError      no routing rule accepts the series
├── GateError                an RTSTRUCT failed its own check: it is never sent
├── DemoNotAllowedError      a demo network's result may not go to this destination
├── InferenceError           Triton failed: retry
├── NetworkAnswerError       a network's answer is none: wrong shape or type, out of its contract's bounds, noise
├── NetworkMismatchError     Triton runs another network than the contract's: fix the repository
│   └── NetworkNotLoadedError  it is the right one, but it or its engine did not load: see Triton's log
├── DamagedFileError         a file of the spool is not what was kept: never used; made again, sent again, or told
├── StoreError               the database failed: retry
│   └── UnusableValueError   it cannot keep a value, such as text with a zero byte: never retried
├── NoSuchRowError           what was asked for by id does not exist
├── OperationRefused         what a person asks for cannot be done in this state
│   └── TooManyError         too much is waiting already: nothing more is accepted at present
├── EmbeddedServerError      an embedded PostgreSQL or Triton cannot start
├── ClockOffError            a machine's clock is off, or the database's was set: nothing is decided by it
├── ProcessMissingError      a process of this service does not run now
├── SendError                the destination did not take the RTSTRUCT: retry
│   └── NotOfferedError      it accepts none of what was proposed
├── WebhookError             a webhook's receiver did not take a message, or may not be called: retry
├── CallError                a server that was called over HTTP did not answer, or not within bounds: retry
└── ArchiveError             a PACS did not answer a query, or not in full, or did not give the images: retry
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class AutocontourError(Exception):
    """Base of all errors below; `retryable` tells the worker what to do."""

    retryable = False


class SettingsError(AutocontourError):
    """The site's TOML is wrong."""


class CatalogError(AutocontourError):
    """A pipeline definition or a network contract is wrong."""


class AccountError(AutocontourError):
    """An account, a password or a token will not do."""


class IdentityError(AutocontourError):
    """The identity provider does not answer, or what it says does not hold."""


class InstanceRefused(AutocontourError):
    """A received object is not what it says it is.

    Attributes:
        status: the C-STORE status to answer (PS3.4 table B.2-1).
        sop_class_uid: of the object, where whoever refuses knows it.
        sop_instance_uid: likewise.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.sop_class_uid = self.sop_instance_uid = ""


class SpoolFullError(AutocontourError):
    """No room for an instance."""

    retryable = True


class SpoolForeignError(AutocontourError):
    """The spool is not the one that belongs to the database."""


class CaseRefused(AutocontourError):
    """These images cannot be contoured."""


class SeriesGeometryError(CaseRefused):
    """The slices do not form one regular stack."""


class PixelDataError(CaseRefused):
    """The pixels cannot be decoded or are not what the header says."""


class VoxelFileError(CaseRefused):
    """A file of voxels is cut short or damaged, or does not hold what was asked for."""


class NoPipelineError(CaseRefused):
    """No routing rule accepts the series."""


class GateError(AutocontourError):
    """An RTSTRUCT failed its own check."""


class DemoNotAllowedError(AutocontourError):
    """A demo network's result may not go to this destination."""


class InferenceError(AutocontourError):
    """Triton failed."""

    retryable = True


class NetworkAnswerError(AutocontourError):
    """A network's answer is out of the bounds of its contract."""


class NetworkMismatchError(AutocontourError):
    """Triton runs another network than the contract's."""


class NetworkNotLoadedError(NetworkMismatchError):
    """A network, or the engine that computes for it, did not load."""


IMAGES = "instances/"
"""Begins the keys of received images."""


class DamagedFileError(AutocontourError):
    """A file of the spool is gone, or is not what was kept.

    Attributes:
        key: of the file.
        is_gone: there is no such file.
    """

    def __init__(self, key: str, found: str, *, is_gone: bool = False) -> None:
        super().__init__(f"{key.rpartition('/')[2]}: {found}")
        self.key = key
        self.is_gone = is_gone


class StoreError(AutocontourError):
    """The database failed."""

    retryable = True


class UnusableValueError(StoreError):
    """The database cannot keep a value, such as text with a zero byte or a number that is too large."""

    retryable = False


class NoSuchRowError(AutocontourError):
    """What was asked for by id does not exist."""


class OperationRefused(AutocontourError):
    """What a person asks for cannot be done in this state."""


class TooManyError(OperationRefused):
    """Too much is waiting already: nothing more is accepted at present."""


class EmbeddedServerError(AutocontourError):
    """An embedded PostgreSQL or Triton cannot start."""

    retryable = True


class ClockOffError(AutocontourError):
    """A machine's clock is not the database's, or the database's was set."""


class ProcessMissingError(AutocontourError):
    """A process of this service does not run now."""


class SendError(AutocontourError):
    """The destination did not take the RTSTRUCT."""

    retryable = True


class NotOfferedError(SendError):
    """A peer accepts none of the presentation contexts that were proposed."""


class WebhookError(AutocontourError):
    """A webhook's receiver did not take a message, or may not be called."""

    retryable = True


class CallError(AutocontourError):
    """A server that was called over HTTP did not answer, or not within bounds."""

    retryable = True


class ArchiveError(AutocontourError):
    """A PACS did not answer a query, or not in full, or did not give the images."""

    retryable = True


class UnreadableError(AutocontourError):
    """A message of a stranger that a library stumbles over."""


@contextmanager
def bytes_of_a_stranger(refusal: Callable[[str], Exception] = UnreadableError) -> Iterator[None]:
    """Turn whatever a library raises over broken bytes into an error of ours: what it stumbles over nobody can list.

    Args:
        refusal: makes the error of what the library said.
    """
    try:
        yield
    except Exception as error:
        raise refusal(f"{type(error).__name__}: {error}") from error
