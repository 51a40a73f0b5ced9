"""How to ask the other programs, for readiness and for the doctor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from npc_contour.adapters.checks import Probes
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.wheel import prepare_server
from npc_contour.app.senders import Senders
from npc_contour.catalog import Catalog
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import InferenceError, NetworkMismatchError, StoreError
from npc_contour.settings import Settings

PROBE_S = 3.0


def probes_of(
    settings: Settings,
    catalog: Catalog,
    *,
    database: Callable[[], str] | None = None,
    engine: Callable[[], TritonEngine] | None = None,
) -> Probes:
    """Return how to ask.

    Args:
        settings: the site's.
        catalog: the networks in use.
        database: a round trip through an open pool; None connects anew by the settings.
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
        database=database or (lambda: ask_database(settings.database.url)),
        triton=triton,
        network=network,
        triton_files=_triton_files,
    )


def ask_database(url: str) -> str:
    """Return which server answers.

    Raises:
        StoreError: none does.
    """
    try:
        with psycopg.connect(url, connect_timeout=int(PROBE_S)) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"
    except psycopg.Error as error:
        raise StoreError(f"database: {str(error).strip()}") from error


def _triton_files() -> str:
    with tempfile.TemporaryDirectory(prefix="npc-triton-") as folder:
        files = prepare_server(Path(folder))
        return f"{files.binary.name} can be started"
