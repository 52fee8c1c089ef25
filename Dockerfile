# The program, the libraries that it is linked with, certificates, and nothing else: no shell, no
# package manager, no root. `make image` builds it with what is there (docker, podman or buildah).
#
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
#     --build-arg PULLGATE_COMMIT="$(git rev-parse HEAD)" \
#     --sbom=true --provenance=true --tag registry.example.com/tools/pullgate .
#
# The base is named in full, since some builders know no default registry. Any image with this
# toolchain on Debian will do, such as a copy in a registry of your own; pin it by digest where you
# must answer for every byte. Without a base image at all: `make image-scratch`.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
ARG PULLGATE_COMMIT=unknown
ARG SOURCE_DATE_EPOCH=0
ENV CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=never \
    PULLGATE_COMMIT=${PULLGATE_COMMIT} \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    RUSTFLAGS="--remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=/cargo"
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The manifest names them; only the program is built.
COPY tests/it/main.rs ./tests/it/main.rs
COPY tests/it/demo.rs tests/it/live.rs ./tests/it/
COPY benches ./benches
COPY deploy/image/root.sh ./deploy/image/root.sh
RUN cargo build --locked --release --bin pullgate \
 && deploy/image/root.sh target/release/pullgate /out

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/pullgate"]
CMD ["serve"]
LABEL org.opencontainers.image.title="pullgate" \
      org.opencontainers.image.source="https://github.com/pullgate/pullgate" \
      org.opencontainers.image.licenses="Apache-2.0"
