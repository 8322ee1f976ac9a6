# SPDX-License-Identifier: Apache-2.0
# make demo   everything from a fresh machine to a trained, quantised, proved and timed classifier (demo/report.html)
# make test   everything from a fresh machine to lint, types, import rules and tests
# Both set up what they need: a virtual environment in .venv with pinned packages, and Debian packages where they are missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Shared libraries of opencv-python, what builds and emulates a board, the compilers that the tests hand the exported C
# to, and the browser that looks at the live page.
RUN_PACKAGES := libgl1 libglib2.0-0
BOARD_PACKAGES := gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
TEST_PACKAGES := $(RUN_PACKAGES) $(BOARD_PACKAGES) gcc g++ clang libclang-rt libc6-dev systemd \
	openssh-client openssh-server rsync chromium
# What emulates a Raspberry Pi's Python, and the keys with which Debian signs it (Ubuntu has them in a package).
AARCH64_PACKAGES := qemu-user-static debian-archive-keyring

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

.PHONY: demo
demo: $(READY) ## photos -> bundle -> C array -> classification, with a report to look at
	@.ci/system-packages $(RUN_PACKAGES)
	@$(BIN)/litesight demo -o demo

.PHONY: setup
setup: $(READY) ## only the virtual environment
	@.ci/system-packages $(RUN_PACKAGES)
	@echo "ready: $(BIN)/litesight --help"

.PHONY: test
test: $(READY) ## lint, types, import rules and tests
	@.ci/system-packages $(TEST_PACKAGES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest
	@[[ "$${REQUIRE_TOOLS:-}" != 1 ]] || $(MAKE) --no-print-directory test-aarch64

.PHONY: test-aarch64
test-aarch64: $(READY) ## the tests of device/ on an emulated 64-bit ARM (part of make test in CI)
	@.ci/aarch64 $(BIN)/python $(AARCH64_PACKAGES)

PHOTOS ?= ../shared/data
.PHONY: figures
figures: $(READY) ## every figure that the README states, measured here (half an hour; photos: make figures PHOTOS=DIR)
	@.ci/system-packages $(RUN_PACKAGES)
	@$(BIN)/python .ci/figures.py "$(PHOTOS)"

NETWORKS ?= ../shared/baselines
.PHONY: bench-mcu
bench-mcu: $(READY) ## RAM, flash and instructions of the static engine on emulated boards (networks: make bench-mcu NETWORKS=DIR)
	@.ci/system-packages $(RUN_PACKAGES) $(BOARD_PACKAGES) gcc libc6-dev
	@$(BIN)/python .ci/bench_mcu.py "$(NETWORKS)"

ROUNDS ?= 9
.PHONY: bench-pi
bench-pi: $(READY) ## every figure of litesight run, beside MediaPipe, ONNX Runtime and OpenCV DNN (make bench-pi ROUNDS=9)
	@.ci/system-packages $(RUN_PACKAGES)
	@$(BIN)/python .ci/bench_pi.py --rounds "$(ROUNDS)"

$(READY): pyproject.toml constraints.txt
	@.ci/virtual-environment $(VENV)
	@touch $@

.PHONY: clean
clean: ## remove the environment, caches and the demo
	rm -rf $(VENV) demo build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache ./*.egg-info
