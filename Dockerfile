# The service, and what exports networks for a GPU. Every package has the version of constraints.txt.
#
#   docker build --target service -t npc-autocontour:0.1.0 .
#   docker run -p 11112:11112 -p 127.0.0.1:8080:8080 --shm-size 2g -v npc-data:/var/lib/npc-contour npc-autocontour:0.1.0
#
#   docker build --target networks -t npc-networks:0.1.0 .
#   docker run --gpus all -v ./triton_repo:/models npc-networks:0.1.0 npc-networks export NETWORK --target tensorrt --repo /models
#
# In parts, with PostgreSQL, Triton and monitoring beside it: deploy/compose.yaml. In Kubernetes: deploy/helm. Which of these
# was built and checked, and how, without a container engine: docs/deployment.md (deploy/check-images).
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG TRITON_RELEASE=26.07

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/npc-contour/venv
ENV PATH=/opt/npc-contour/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY models models
COPY tools tools
COPY triton_repo triton_repo
# nvidia-pytriton declares numpy<2, which its files do not need: only its tritonserver is used.
RUN pip install --constraint constraints.txt '.[tracing]' \
 && pip install --constraint constraints.txt --no-deps nvidia-pytriton

# With embedded PostgreSQL and embedded Triton (processor), without torch.
FROM ${PYTHON_IMAGE} AS service
# Nothing here needs root; one fixed user owns the data. The root file system may be read-only: what is written goes to
# /var/lib/npc-contour (state), /srv/npc-contour/spool (the spool, where several containers share it), /var/cache/npc-contour
# (compiled kernels; made again when absent) and /tmp.
# libnss-wrapper: a container may be run as any user id, and initdb insists on a name for it. tzdata: TZ names the zone.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends libnss-wrapper tzdata && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --home-dir /var/lib/npc-contour npc-contour \
 && install -d -o npc-contour -g npc-contour -m 0750 /var/lib/npc-contour /srv/npc-contour /srv/npc-contour/spool /var/cache/npc-contour \
 && install -d -m 0755 /etc/npc-contour
COPY --from=build /opt/npc-contour/venv /opt/npc-contour/venv
COPY deploy/container.site.toml /etc/npc-contour/site.toml
COPY LICENSE THIRD_PARTY.md deploy/RUNBOOK.md /opt/npc-contour/
ENV PATH=/opt/npc-contour/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/npc-contour/numba MPLCONFIGDIR=/var/cache/npc-contour/matplotlib
USER 10001
WORKDIR /var/lib/npc-contour
VOLUME ["/var/lib/npc-contour", "/var/cache/npc-contour"]
# 8081 is the status port: /health/live, /health/ready and /metrics of this container, for monitoring only.
EXPOSE 11112 8080 8081
# Liveness only: a destination that is down must not restart the service. Monitoring asks /health/ready.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/health/live', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["npc-contour", "serve", "--config", "/etc/npc-contour/site.toml"]

# Exports networks and builds TensorRT engines, in the image whose TensorRT will serve them; for people, not for a service.
FROM nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3 AS networks
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY models models
COPY tools tools
COPY triton_repo triton_repo
RUN pip install --constraint constraints.txt torch \
 && pip install --constraint constraints.txt '.[networks]'
ENV NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /models
CMD ["npc-networks", "--help"]
