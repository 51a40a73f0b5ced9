# Triton for a GPU machine, apart from the service: NVIDIA's image and what the networks' own models need.
#
#   docker build --build-arg RELEASE=26.07 -f deploy/triton.Dockerfile -t npc-triton .
#   docker run --rm --gpus all -v ./triton_repo:/models npc-triton python3 /models/NETWORK_engine/build_engine.py
#   docker run --gpus all -p 8001:8001 -p 8002:8002 -v ./triton_repo:/models:ro npc-triton
#
# The engines are written by `npc-networks export NETWORK --target tensorrt` (docs/engines.md). This file has not been
# built by its authors: neither a container engine nor a GPU was at hand.
ARG RELEASE
FROM nvcr.io/nvidia/tritonserver:${RELEASE}-py3
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_BREAK_SYSTEM_PACKAGES=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY models models
COPY triton_repo triton_repo
RUN pip install --constraint constraints.txt .
ENV NUMBA_CACHE_DIR=/tmp/numba NPC_NETWORK_CACHE_DIR=/tmp/compiled
EXPOSE 8001 8002
# One engine at a time on each GPU. A network that does not load must not take the others away: readiness names it.
CMD ["tritonserver", "--model-repository=/models", "--rate-limit=execution_count", "--exit-on-error=false", \
     "--disable-auto-complete-config"]
