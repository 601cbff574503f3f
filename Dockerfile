# syntax=docker/dockerfile:1
# Two programs, two images, and the engine with its default weights:
#   docker build --target cordon -t cordon .
#   docker build --target cordon --build-arg FEATURES=kerberos -t cordon .
#   docker build --target engine -t cordon-engine .
#   docker build --target engine-smollm2 -t cordon-engine-smollm2 .
# The proxy's image never compiles llama.cpp.
ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-${DEBIAN} AS proxy-build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
# `kerberos` takes tickets at the proxy: it links MIT's library, which comes with the image then.
ARG FEATURES=
RUN case "${FEATURES}" in *kerberos*) apt-get update && \
    apt-get install -y --no-install-recommends libkrb5-dev libclang-dev && rm -rf /var/lib/apt/lists/* ;; esac
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin cordon --features "${FEATURES}" && cp target/release/cordon /usr/local/bin/

FROM rust:${RUST}-${DEBIAN} AS engine-build
RUN apt-get update && apt-get install -y --no-install-recommends cmake libclang-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# Features `cuda`, `vulkan` and `metal` pass through; `cuda` takes a base image with the full toolkit.
ARG ENGINE_FEATURES=
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --release --locked -p cordon-engine --features "${ENGINE_FEATURES}" && \
    cp target/release/cordon-engine /usr/local/bin/

FROM debian:${DEBIAN}-slim AS weights
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv python3-pip ca-certificates && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY scripts scripts
RUN scripts/weights

FROM debian:${DEBIAN}-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 65532 cordon && \
    useradd --uid 65532 --gid 65532 --home-dir /var/lib/cordon --create-home --shell /usr/sbin/nologin cordon
USER 65532:65532

FROM base AS engine
USER root
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 libstdc++6 && rm -rf /var/lib/apt/lists/*
COPY --from=engine-build /usr/local/bin/cordon-engine /usr/local/bin/
USER 65532:65532
ENV GOMP_SPINCOUNT=1000
EXPOSE 8080
ENTRYPOINT ["cordon-engine"]

FROM engine AS engine-smollm2
COPY --from=weights /source/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf /models/
CMD ["--model", "/models/SmolLM2-135M-Instruct.Q4_1.gguf", "--listen", "0.0.0.0:8080"]

# Last, so that a plain `docker build .` makes the proxy.
FROM base AS cordon
ARG FEATURES=
USER root
RUN case "${FEATURES}" in *kerberos*) apt-get update && \
    apt-get install -y --no-install-recommends libgssapi-krb5-2 && rm -rf /var/lib/apt/lists/* ;; esac
USER 65532:65532
COPY --from=proxy-build /usr/local/bin/cordon /usr/local/bin/
WORKDIR /var/lib/cordon
EXPOSE 8443 8888 8889
ENTRYPOINT ["cordon"]
CMD ["serve", "--config", "/etc/cordon/cordon.yaml"]
