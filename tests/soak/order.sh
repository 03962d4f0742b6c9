#!/bin/bash
# Strict order for long: ROUNDS snapshots under chains of processes on a mount, and a hundred times
# as many under threads that meet in one file without a kernel between them. There is no seed: what
# differs from run to run is who comes first.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/parts.sh

rounds=${1:?usage: tests/soak/order.sh ROUNDS}
say "order: $rounds rounds; no seed, the order of events is the machine's"
name=no_snapshot_and_no_checkpoint_holds_a_later_call_without_an_earlier_one
REWINDFS_ROUNDS=$rounds bounded 3600 cargo test --quiet --release --test suite -- --nocapture "$name"
name=no_snapshot_holds_a_later_operation_without_an_earlier_one
REWINDFS_ROUNDS=$((100 * rounds)) bounded 3600 cargo test --quiet --release --lib -- --nocapture "$name"
