"""Tests, too, call nobody: npc_networks switches openvino's telemetry off before anything imports openvino."""

import npc_networks as npc_networks  # noqa: PLC0414 (imported for what it does)
