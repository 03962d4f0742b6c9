#!/bin/bash
# Takes the power from a file system under load, ROUNDS times of each kind: a disk that keeps all
# that was sent to it, and one that forgets what was not flushed. Prints the seeds, a line for each
# image and what was looked at. See tests/suite/soak/power.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage='usage: tests/soak/power.sh ROUNDS [sent|forgets [SEED]]'
rounds=${1:?$usage}
case ${2:-} in
'') filter=soak::power ;;
sent) filter=soak::power::what_reached ;;
forgets) filter=soak::power::a_disk_that_forgets ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
[ -z "${3:-}" ] || export REWINDFS_SEED=$3
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/target}
export PATH=$PATH:/usr/sbin:/sbin RUST_BACKTRACE=0 REWINDFS_ROUNDS=$rounds
# One kind after the other; an image takes some seconds, and one that hangs does not hang the machine.
exec timeout --kill-after=30 $((600 + 120 * rounds)) \
    cargo test --release --test suite -- --nocapture --test-threads 1 "$filter"
