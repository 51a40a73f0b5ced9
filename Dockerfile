# The service with embedded PostgreSQL and embedded Triton (CPU), without torch.
#
#   docker build --target service -t npc-autocontour .
#   docker run -p 11112:11112 -p 8080:8080 -v npc-data:/var/lib/npc-contour \
#              -v ./site.toml:/etc/npc-contour/site.toml:ro npc-autocontour
#
# This file has not been built by its authors: no container engine was at hand. What it installs is what `make setup`
# installs on a plain machine, and a test reads the settings of the image (deploy/container.site.toml).

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/npc-contour/venv
ENV PATH=/opt/npc-contour/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY models models
COPY triton_repo triton_repo
# nvidia-pytriton declares numpy<2, which its files do not need: only its tritonserver is used.
RUN pip install --constraint constraints.txt . \
 && pip install --constraint constraints.txt --no-deps nvidia-pytriton

FROM python:3.11-slim AS service
# Nothing here needs root; one fixed user owns the data.
RUN useradd --system --uid 10001 --create-home --home-dir /home/npc-contour npc-contour \
 && install -d -o npc-contour -g npc-contour -m 0750 /var/lib/npc-contour \
 && install -d -m 0755 /etc/npc-contour
COPY --from=build /opt/npc-contour/venv /opt/npc-contour/venv
COPY deploy/container.site.toml /etc/npc-contour/site.toml
COPY LICENSE THIRD_PARTY.md deploy/RUNBOOK.md /opt/npc-contour/
ENV PATH=/opt/npc-contour/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/home/npc-contour/.cache/numba MPLCONFIGDIR=/home/npc-contour/.cache/matplotlib
USER npc-contour
VOLUME /var/lib/npc-contour
EXPOSE 11112 8080
# Liveness only: a destination that is down must not restart the service. Monitoring asks /health/ready.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import sys, urllib.request; sys.exit(urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4).status != 200)"]
STOPSIGNAL SIGTERM
CMD ["npc-contour", "serve", "--config", "/etc/npc-contour/site.toml"]
