"""How to ask the other programs, for readiness and for the doctor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psycopg

from npc_contour.adapters.checks import Probes
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.app.runtime import FILE, Runtime
from npc_contour.app.senders import Senders
from npc_contour.catalog import Catalog
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.pipelines import NetworkContract, engine_name
from npc_contour.domain.volumes import Volume
from npc_contour.errors import InferenceError, NetworkMismatchError, StoreError
from npc_contour.settings import Settings

PROBE_S = 3.0
_WRITE_A_MEGABYTE = """SELECT count(*) FROM (SELECT repeat(md5(n::text), 32) AS words FROM generate_series(1, 1000) AS n
ORDER BY words OFFSET 0) AS sorted"""


def probes_of(
    settings: Settings,
    catalog: Catalog,
    *,
    database_url: str = "",
    engine: Callable[[], TritonEngine] | None = None,
) -> Probes:
    """Return how to ask.

    Args:
        settings: the site's.
        catalog: the networks in use.
        database_url: of the database in use; "" takes the one of the settings.
        engine: the client of the Triton in use; None makes one by the settings.
    """
    client = engine or (lambda: TritonEngine(settings.triton.url, timeout_s=PROBE_S))

    def triton() -> str:
        contract = next(iter(catalog.contracts.values()), None)
        if contract is None:
            raise InferenceError("no network is in use")
        try:
            client().check(contract)
        except NetworkMismatchError:
            return "answers, but see its networks"
        return "answers"

    def network(contract: NetworkContract) -> str:
        client().check(contract)
        kind = "demo network" if contract.demo else "network"
        return f"{kind} {contract.name} {contract.version}, contract {contract.contract_sha256[:12]}"

    return Probes(
        reach=Senders(settings, PROBE_S).reach,
        database=partial(ask_database, database_url or settings.database.url),
        triton=triton,
        network=network,
        embedded_triton=partial(_embedded_triton, settings, catalog),
    )


def ask_database(url: str) -> str:
    """Return which server answers and can write, over a connection of its own: so the server's own words are told.

    Raises:
        StoreError: none does, it is read-only, or its disk is full.
    """
    try:
        with psycopg.connect(url, connect_timeout=int(PROBE_S), autocommit=True) as connection:
            connection.execute(f"SET statement_timeout = {int(PROBE_S * 1000)}")
            (read_only,) = connection.execute("SHOW transaction_read_only").fetchone() or ("",)
            if read_only == "on":
                raise StoreError("database: it answers, but is read-only: nothing can be received or done")
            # To the log of changes, and past the memory of a sort to the disk of the tables: both without any table.
            connection.execute("SELECT pg_logical_emit_message(true, 'npc-contour', 'ready?')")
            connection.execute("SET work_mem = '64kB'")
            connection.execute(_WRITE_A_MEGABYTE)
            return f"PostgreSQL {connection.info.parameter_status('server_version')}, can write"
    except psycopg.Error as error:
        raise StoreError(f"database: {str(error).strip()}") from error


SOFT_TISSUE_HU = 40


def _embedded_triton(settings: Settings, catalog: Catalog) -> str:
    """Ask the Triton of the service that runs here; where none does, start one with the smallest network in use."""
    contract = _smallest(settings.triton.model_repository, catalog)
    file = settings.storage.root / FILE
    if file.is_file() and (url := Runtime.read(file).triton_url):
        with suppress(InferenceError, OSError), TritonEngine(url, timeout_s=PROBE_S) as engine:
            engine.check(contract)
            return f"that of the running service answers at {url}"
    repository, limit_s = settings.triton.model_repository, settings.triton.start_timeout_s
    # The smallest shows that the server works; an engine may fail by itself: its backend, its device.
    tried = [
        one for one in catalog.contracts.values() if one is contract or (repository / engine_name(one.name)).is_dir()
    ]
    with (
        EmbeddedTriton(repository, networks=[one.name for one in tried], start_timeout_s=limit_s) as server,
        TritonEngine(server.urls.grpc, timeout_s=limit_s) as engine,
    ):
        for one in tried:
            engine.check(one)
        engine.segment(contract, _one_window(contract))
    return f"started, and {contract.name} answered to one window"


def _smallest(repository: Path, catalog: Catalog) -> NetworkContract:
    contracts = catalog.contracts.values()
    if not contracts:
        raise InferenceError("no network is in use")
    return min(contracts, key=lambda contract: (repository / contract.name / contract.weights_file).stat().st_size)


def _one_window(contract: NetworkContract) -> list[Volume]:
    """Return a block of soft tissue for each channel, of the size of the network's window.

    Not of water: voxels of 0 are no image to networks that cut to what is not 0, as nnU-Net's do.
    """
    grid = Grid(contract.patch_zyx, contract.spacing_zyx_mm, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "")
    indices = np.zeros((grid.shape_zyx[0], 3))
    indices[:, 0] = np.arange(grid.shape_zyx[0])
    uids = tuple(str(index) for index in range(grid.shape_zyx[0]))
    tissue = np.full(grid.shape_zyx, SOFT_TISSUE_HU, dtype=np.int16)
    return [Volume(tissue, grid, uids, grid.to_patient_mm(indices)) for _ in contract.channels]
