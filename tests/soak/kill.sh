#!/bin/bash
# Kills the daemon ROUNDS times at random moments: a fifth each during the first import, snapshots,
# removals, the search for what changed, and plain work. Prints the seed, a line for each round and
# what was looked at. See tests/suite/soak/kill.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:?usage: tests/soak/kill.sh ROUNDS [SEED]}
[ -z "${2:-}" ] || export REWINDFS_SEED=$2
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/target}
export PATH=$PATH:/usr/sbin:/sbin RUST_BACKTRACE=0 REWINDFS_ROUNDS=$rounds
# A round takes some seconds; one that hangs does not hang the machine.
exec timeout --kill-after=30 $((600 + 60 * rounds)) \
    cargo test --release --test suite -- --nocapture soak::kill
