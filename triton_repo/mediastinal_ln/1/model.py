from npc_networks.serving.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
