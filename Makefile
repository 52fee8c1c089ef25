# Everything that a person or a pipeline runs. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Programs of the real control plane, built once from Go modules (tests/cluster/README.md).
export PULLGATE_CLUSTER_BIN := $(CURDIR)/target/cluster/bin

.PHONY: help build program release release-twice image image-scratch test test-unit test-matrix demo live image-live gitops cluster-bin oracle model chaos fuzz bench clean need-cargo

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

build: need-cargo ## Build pullgate (debug)
	cargo build --locked

program: need-cargo ## Build pullgate optimised, with its commit in it: target/release/pullgate
	PULLGATE_COMMIT=$$(git describe --always --dirty --abbrev=40 --match '' 2>/dev/null || echo unknown) \
	  cargo build --locked --release --bin pullgate

# The name of the image, and the base that it is built on.
IMAGE ?= pullgate:dev
RUST_IMAGE ?= docker.io/library/rust:1.95-bookworm

image: ## Build the container image from the Dockerfile with docker, podman or buildah: IMAGE=…, RUST_IMAGE=…
	@builder=; for one in docker podman buildah; do \
	  if [[ $$one != docker ]] || docker info >/dev/null 2>&1; then \
	    if command -v $$one >/dev/null; then builder=$$one; break; fi; fi; done; \
	if [[ -z $$builder ]]; then \
	  echo "missing: docker (with its daemon), podman or buildah; Debian: apt-get install buildah. Without any of them: make image-scratch" >&2; exit 2; fi; \
	set -x; $$builder build --build-arg RUST_IMAGE=$(RUST_IMAGE) \
	  --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) \
	  --build-arg PULLGATE_COMMIT=$$(git describe --always --dirty --abbrev=40 --match '' 2>/dev/null || echo unknown) \
	  --tag $(IMAGE) .

release: need-cargo ## Make archives, chart, SBOM and checksums of a release: target/release-VERSION
	@deploy/release.sh

release-twice: need-cargo ## Make the release from two folders, and compare every byte
	@deploy/release-twice.sh

image-scratch: program ## Build the container image without any base image: target/image (OCI layout) and target/image.tar
	IMAGE=$(IMAGE) deploy/image/build.sh target/release/pullgate target/image target/image.tar

test: need-cargo ## Run everything: formatting, lints, unit, integration and cluster tests
	@tests/all.sh

test-unit: need-cargo ## Run the fast tests: no cluster, no Go
	PULLGATE_CLUSTER_BIN= cargo test --locked

test-matrix: need-cargo ## Run the cluster tests with the oldest and the newest Kubernetes (1.30, 1.36)
	@tests/matrix.sh

demo: need-cargo ## Play the demo: a real API server asks Pullgate, kubectl shows the answers
	@PULLGATE_CLUSTER_MODULES="kubernetes etcd registry" tests/cluster/build.sh
	@echo "pullgate (debug build) and the player of the scenes"
	@cargo build --locked --quiet --bin pullgate --example demo
	@exec target/debug/examples/demo

live: ## Compare what is denied with what a real kubelet pulls (root, Linux on amd64)
	@tests/live/run.sh

image-live: image-scratch ## Run that image under a real kubelet, installed by helm (root, Linux on amd64)
	@tests/live/run.sh image target/image.tar

gitops: need-cargo ## Watch for ten minutes whether Argo CD sees drift in the chart while Pullgate writes what it writes
	@PULLGATE_CLUSTER_MODULES="kubernetes etcd registry helm gitops" tests/cluster/build.sh
	PULLGATE_GITOPS_SECONDS=$${PULLGATE_GITOPS_SECONDS:-300} cargo test --locked --test it deploy::argo_cd -- --nocapture

cluster-bin: ## Build the control plane for tests: kube-apiserver, etcd, registry, kubectl, helm, cert-manager, Argo CD
	@tests/cluster/build.sh

oracle: need-cargo ## Compare with the kubelet's, containerd's and CRI-O's own code on N generated cases (SEED=…)
	@tests/oracle/build.sh
	PULLGATE_ORACLE_CASES=$(or $(N),100000) PULLGATE_ORACLE_SEED=$(or $(SEED),$$RANDOM) \
	  cargo test --locked --test it oracle:: -- --nocapture

model: need-cargo ## Try 100,000 worlds of nodes that know more than Pullgate: none may be denied what it can pull
	PULLGATE_WORLDS=100000 cargo test --locked --test it model::

chaos: need-cargo ## Ten minutes of trouble of every kind at 200 reviews a second: nothing wrongly denied, late or lost
	@PULLGATE_CLUSTER_MODULES="kubernetes etcd" tests/cluster/build.sh
	PULLGATE_CHAOS_SECONDS=$${PULLGATE_CHAOS_SECONDS:-600} PULLGATE_CHAOS_RATE=$${PULLGATE_CHAOS_RATE:-200} \
	  cargo test --locked --profile bench --test it chaos:: -- --nocapture

fuzz: need-cargo ## Run the property tests and the fuzz targets with many more cases than usual
	PULLGATE_CLUSTER_BIN= PROPTEST_CASES=$${PROPTEST_CASES:-20000} cargo test --locked prop
	PULLGATE_CLUSTER_BIN= PULLGATE_FUZZ_CASES=$${PULLGATE_FUZZ_CASES:-300000} \
	  cargo test --locked --test it registry::fuzz

bench: need-cargo ## Measure what the README says of speed and memory: tables of ratios, round trips and requests
	cargo bench --locked --profile release --bench review --bench lookup --bench registry --bench health --bench list --bench check

clean: ## Remove everything that was built, the control plane too
	rm -rf target

need-cargo:
	@command -v cargo >/dev/null || { echo "missing: cargo. Install Rust 1.89 or newer (https://rustup.rs)." >&2; exit 2; }
