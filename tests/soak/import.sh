#!/bin/bash
# Random changes by three threads during the first import, again and again: `first` must be the
# tree as it was at the mount, and a snapshot afterwards the live tree.
#   tests/soak/import.sh [ROUNDS [FILES [SEED]]]
set -euo pipefail
cd "$(dirname "$0")/../.."
export REWINDFS_SCAN_ROUNDS=${1:-20} REWINDFS_SCAN_FILES=${2:-15000} REWINDFS_SEED=${3:-$RANDOM}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/target}
export PATH=$PATH:/usr/sbin:/sbin
echo "seed $REWINDFS_SEED, $REWINDFS_SCAN_ROUNDS rounds of $REWINDFS_SCAN_FILES files"
# A round takes half a minute; one that hangs does not hang the machine.
exec timeout --kill-after=30 $((600 + 120 * REWINDFS_SCAN_ROUNDS)) \
    cargo test --release --test suite -- --nocapture scan::changes_during_the_first_import_are_not_in_it
