#!/bin/bash
# Puts releases of a crate into a folder, each into a folder of its own, for COMPARE_VERSIONS: cargo
# fetches them from where it gets every crate.
#   benches/compare/versions.sh FOLDER [CRATE VERSION...]
# Without a crate: 30 releases of libc, which needs no other one.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$1
crate=${2:-libc}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- $(seq -f 0.2.%g 111 127) $(seq -f 0.2.%g 131 143)
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A project for each release: one cannot need two of them.
manifests=()
for version in "$@"; do
    mkdir -p "$work/$version/src"
    echo > "$work/$version/src/lib.rs"
    printf '[package]\nname = "versions"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n' \
        "$crate" "$version" > "$work/$version/Cargo.toml"
    manifests+=(--sync "$work/$version/Cargo.toml")
done
(cd "$work/$version" && timeout 300 cargo vendor --quiet --versioned-dirs "${manifests[@]}" vendor > /dev/null)
for version in "$@"; do
    rm -rf "${folder:?}/$crate-$version"
    mv "$work/${!#}/vendor/$crate-$version" "$folder"
done
