# syntax=docker/dockerfile:1
# Three stages: the dashboard, the binary with the dashboard inside, and an image that holds nothing else.

FROM node:20-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM rust:1.95-slim-bookworm AS build
# LLVM's tools of the compiler's version, and PostgreSQL, are for the training.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential llvm-22 openssl postgresql && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY crates/ crates/
COPY bench/ bench/
COPY tests/packages.sh tests/
COPY migrations/ migrations/
COPY --from=web /src/web/dist web/dist
COPY web/openapi.json web/openapi.json
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    bench/release.sh && cp target/shipped/tallygate /tallygate \
    && mkdir -p /data/journal

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /tallygate /usr/bin/tallygate
# The journal must outlive the container: mount a volume here.
COPY --from=build --chown=nonroot:nonroot /data /data
VOLUME /data
WORKDIR /
ENV TALLYGATE__SERVER__LISTEN=0.0.0.0:8080 \
    TALLYGATE__SERVER__ADMIN_LISTEN=0.0.0.0:8081 \
    TALLYGATE__SERVER__METRICS_LISTEN=0.0.0.0:9090 \
    MIMALLOC_ALLOW_THP=0
EXPOSE 8080 8081 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/usr/bin/tallygate", "healthcheck"]
ENTRYPOINT ["/usr/bin/tallygate"]
CMD ["serve"]
