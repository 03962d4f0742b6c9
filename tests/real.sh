#!/bin/bash
# Real input: a big tree of real files, mounted over and worked in as people do, with a snapshot
# and a plain copy between the steps. In the end each snapshot is compared with its copy by rsync:
# names, content by checksum, modes, owners, times, links, ACLs, xattrs.
# usage: tests/real.sh PROGRAM TEMPORARY-FOLDER [FILES-AT-LEAST]
set -euo pipefail

program=$(realpath "$1")
folder=$2/real
at_least=${3:-10000}
source "$(dirname "$0")/parts.sh"

registry=${CARGO_HOME:-$HOME/.cargo}/registry
work=$folder/work
mkdir -p "$folder/copies"

say "copying $registry"
mkdir "$work"
cp -a "$registry/." "$work/registry"
files=$(find "$work" -type f | wc -l)
[ "$files" -ge "$at_least" ] ||
    fail "real input needs $at_least files, $registry has $files: build something with cargo first"
say "$files files, $(du -sm "$work" | cut -f1) MiB"

bounded 120 "$program" mount "$work"
bounded 600 "$program" sync "$work"

# Snapshot, and beside it the plain copy: hard links keep it small where rsync finds nothing new.
steps=()
step() {
    local name=$1 last=()
    [ ${#steps[@]} = 0 ] || last=(--link-dest="$folder/copies/${steps[-1]}")
    # mkdir gives up after a while: the bulk is recorded before.
    bounded 600 "$program" sync "$work"
    timeout 120 mkdir "$work/.snapshots/$name" || fail "no snapshot $name"
    # Without --link-dest on content: a file whose bytes changed under equal times must be copied.
    timeout 600 rsync -aHAX --modify-window=-1 --checksum "${last[@]}" "$work/" "$folder/copies/$name/"
    steps+=("$name")
    say "step $name: $(find "$work" | wc -l) entries"
}

within() { (cd "$work" && timeout 900 bash -euo pipefail -c "$1") || fail "a step of the work: $1"; }

step imported

# A repository of what is there, cloned, and checked out to and fro.
within '
    export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    source=$(find registry/src -mindepth 2 -maxdepth 2 -type d | sort | sed -n 1,20p)
    mkdir upstream && cp -a $source upstream/
    cd upstream
    find . -name .gitignore -delete
    git init -q -b main . && git add -A && git commit -qm everything
    git checkout -qb rewrite
    find . -type f -name "*.rs" -not -path "./.git/*" | sort | sed -n 1,400p | xargs sed -i "s/fn /fn  /"
    git rm -rqf "$(ls | sed -n 1,1p)"
    git commit -qam rewrite
    cd .. && git clone -q upstream clone && cd clone'
step cloned
within '
    cd clone
    git checkout -q main; git checkout -q rewrite; git checkout -q main
    git status --porcelain > ../status; test ! -s ../status'
step checked-out
within 'cd clone && git checkout -q rewrite && git gc -q && git fsck --strict 2> /dev/null'
step switched

# A crate of our own, built in the mounted directory.
within '
    mkdir -p crate/src && cd crate
    printf "[package]\nname = \"tried\"\nversion = \"0.1.0\"\nedition = \"2021\"\n" > Cargo.toml
    printf "fn main() { println!(\"built and run\"); }\n" > src/main.rs
    export CARGO_TARGET_DIR=$PWD/target
    cargo build -q --offline
    test "$(target/debug/tried)" = "built and run"'
step built
within 'cd crate && sed -i s/built/rebuilt/ src/main.rs && CARGO_TARGET_DIR=$PWD/target cargo build -q --offline'
step rebuilt

# tar, unpacked over and beside what is there.
within '
    tar -cf all.tar clone/*/src && mkdir untarred && tar -C untarred -xf all.tar
    tar -C clone -xf all.tar --strip-components=1
    gzip -1 all.tar'
step tarred

# Editors that save by rename, and those that write in place.
within '
    file=clone/note.txt
    for n in 1 2 3 4 5; do
        printf "line %s\n" $n > $file.new && mv $file.new $file
        printf "appended %s\n" $n >> $file
        vim.tiny -u NONE -es -c "set backup writebackup backupskip= backupcopy=no" -c "normal ogreat" -c wq $file < /dev/null
        vim.tiny -u NONE -es -c "set nobackup writebackup backupcopy=yes" -c "normal ogreat" -c wq $file < /dev/null
    done
    grep -c great $file | grep -qx 2'
step edited
within 'find clone upstream -type f -name "*.rs" | sed -n 1,1000p | xargs sed -i "s/  / /g; s/pub/pub /"'
step sed
within '
    find registry -type f -name "*.rs" | sed -n 1,300p | while read -r f; do truncate -s -1 "$f"; done
    find registry -type f -name "*.md" | sed -n 1,300p | xargs chmod 600
    find registry -type f -name "LICENSE*" | sed -n 1,100p | while read -r f; do ln "$f" "$f.link"; done
    find registry -type d | sed -n 1,50p | xargs touch -d 2001-02-03'
step touched
within 'rm -rf upstream crate registry/src/*/a*; mv untarred registry/; rm -rf clone/.git'
step removed
within 'cp -a .snapshots/imported/registry restored; cp -a .snapshots/cloned/upstream .'
diff -r --no-dereference "$work/upstream" "$folder/copies/cloned/upstream" > /dev/null ||
    fail "what was copied back is not what it was"
step restored

compare() {
    local name found
    for name in "${steps[@]}"; do
        found=$(timeout 900 rsync -aHAXn --modify-window=-1 --checksum --delete --itemize-changes \
            "$work/.snapshots/$name/" "$folder/copies/$name/" 2>&1) || true
        [ -z "$found" ] || {
            head -20 <<< "$found"
            fail "the snapshot $name is not its copy ($1): $(wc -l <<< "$found") differences"
        }
        say "snapshot $name is its copy, $1"
    done
}
compare mounted
bounded 300 "$program" umount "$work"
found=$(rsync -aHAXn --modify-window=-1 --checksum --delete --itemize-changes "$work/" "$folder/copies/restored/")
[ -z "$found" ] || fail "the directory itself is not what it was on the mount: $(head -5 <<< "$found")"
bounded 120 "$program" mount "$work"
bounded 600 "$program" sync "$work"
compare "mounted again"
bounded 300 "$program" umount "$work"
