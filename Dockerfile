# The publisher's own image, for linux/amd64 and linux/arm64 (docs/own-image.md):
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/model-publisher:0.1.0 --push .
#   docker buildx build --target kaniko --tag REGISTRY/model-publisher:0.1.0-kaniko --push .
#
# Whatever runs in here runs on the building machine's own architecture: no emulation is needed.

# Both may be a site's own copies: PYTHON_IMAGE has pip, KANIKO_IMAGE has /kaniko/executor (the second form alone).
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim
ARG KANIKO_IMAGE=gcr.io/kaniko-project/executor:v1.24.0

FROM --platform=$BUILDPLATFORM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Bytecode that is not compared with file times, because those are all the same in the image; none of what only some
# stores of models need (MLflow's own client, in place of our few calls), whose bytecode would be a tenth of the image.
ENV COMPILE="python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash -x /(databricks|mlflow|pygments)/"
# pip runs as this environment's Python, whose name then is in the programs' first lines, and stays out of it.
RUN python3 -m venv --without-pip /opt/venv

FROM build AS environment
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH=0
COPY publisher/ownimage/requirements.txt /
RUN set -eu; \
    case "$TARGETARCH" in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) echo "no wheels for '$TARGETARCH'"; exit 1 ;; esac; \
    site=$(echo /opt/venv/lib/python3.*/site-packages); \
    platforms=$(for minor in $(seq 28 -1 17); do echo "--platform manylinux_2_${minor}_$machine"; done); \
    pip --python /opt/venv/bin/python install --quiet --require-hashes --no-deps --no-compile --target "$site" \
        --only-binary :all: $platforms --platform manylinux2014_$machine --requirement /requirements.txt; \
    mv "$site"/bin/* /opt/venv/bin/; rmdir "$site/bin"; \
    $COMPILE "$site"; \
    find /opt/venv -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM build AS package
ARG SOURCE_DATE_EPOCH=0
COPY publisher/ownimage/build-requirements.txt /
RUN pip install --quiet --require-hashes --no-deps --target /hatchling --requirement /build-requirements.txt
COPY . /src
RUN set -eu; cd /src; \
    PYTHONPATH=/hatchling pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /dist .; \
    site=$(cd /; echo opt/venv/lib/python3.*/site-packages); \
    pip --python /opt/venv/bin/python install --quiet --no-index --no-deps --no-compile --target "/out/$site" /dist/*.whl; \
    mv "/out/$site/bin" /out/opt/venv/bin; \
    $COMPILE -s /out -p / "/out/$site"; \
    mkdir -p /out/app /out/etc/publisher; cp download_models.py publish_models.py /out/app; mkdir -m 700 /cache; \
    find /out /cache -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM ${PYTHON_IMAGE} AS image
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="model-publisher" \
      org.opencontainers.image.description="Registered MLflow models become container images, in any registry" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The root file system may be read-only: what is written goes to /tmp and /cache.
ENV PATH=/opt/venv/bin:${PATH} VIRTUAL_ENV=/opt/venv HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache PUBLISHER_HEALTH=/tmp/publisher.json GIT_PYTHON_REFRESH=quiet
COPY --from=environment /opt/venv /opt/venv
COPY --from=package /out /
# publisher.toml is looked for in the current folder, and need not be there.
WORKDIR /etc/publisher
HEALTHCHECK --interval=5m --timeout=30s --start-period=15m CMD ["publisher", "health"]
ENTRYPOINT ["publisher"]
# MODEL_NAME and MODEL_VERSION where they are set, else one poll.
CMD ["publish-models"]

FROM ${KANIKO_IMAGE} AS executor

# For versions that bring a Dockerfile, where no other engine is: kaniko is root, in a container of its own.
FROM image AS kaniko
COPY --from=executor /kaniko/executor /kaniko/executor
COPY --from=package /cache /cache
VOLUME /cache
USER 0:0

FROM image AS default
COPY --from=package --chown=10001:10001 /cache /cache
# A container that is given none has one of its own, so that it works on a read-only root file system.
VOLUME /cache
USER 10001:10001
