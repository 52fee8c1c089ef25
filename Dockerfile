# syntax=docker/dockerfile:1
# A static program in an empty image: no shell, no package manager, no root.
#
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
#     --build-arg PULLGATE_COMMIT="$(git rev-parse HEAD)" \
#     --sbom=true --provenance=true --tag registry.example.com/tools/pullgate .
#
# Reproducible: pinned toolchain and lock file, no paths or times of the builder in the program.
# Pin the base by digest as well where you must answer for every byte (RUST_IMAGE).
ARG RUST_IMAGE=rust:1.95-alpine

FROM ${RUST_IMAGE} AS build
# ring compiles a little C; musl-dev and gcc are what it needs.
RUN apk add --no-cache musl-dev gcc
WORKDIR /src
ARG PULLGATE_COMMIT=unknown
ARG SOURCE_DATE_EPOCH=0
ENV CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=never \
    PULLGATE_COMMIT=${PULLGATE_COMMIT} \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=/cargo"
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The manifest names them; only the program is built.
COPY tests/it/main.rs ./tests/it/main.rs
COPY tests/it/demo.rs ./tests/it/demo.rs
COPY benches ./benches
RUN cargo build --locked --release --bin pullgate \
 && install -D -m 0555 target/release/pullgate /out/pullgate \
 && install -d -m 0755 /out/etc/ssl/certs \
 && install -m 0444 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/pullgate"]
CMD ["serve"]
