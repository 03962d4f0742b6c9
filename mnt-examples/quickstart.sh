#!/bin/bash
# The shortest way to see rewindfs at work.
#
#   mnt-examples/quickstart.sh        builds it and shows what it does, in a folder that it makes
#   mnt-examples/quickstart.sh DIR    builds it and mounts it over DIR
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

# As it can be typed.
quoted() {
    case $1 in
    *[!A-Za-z0-9/._+:,@%=-]*) printf '%s' "${1@Q}" ;;
    *) printf '%s' "$1" ;;
    esac
}
die() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

usage='usage: mnt-examples/quickstart.sh [DIR]'
[ $# -le 1 ] || die "$usage"
dir=${1:-}
case $dir in
-h | --help)
    echo "$usage"
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
-*) die "$usage" ;;
esac
if [ -n "$dir" ]; then
    [ -d "$dir" ] || die "$dir is not a directory: mkdir $(quoted "$dir")"
    dir=$(cd "$dir" && pwd)
fi

cat <<END
This will
  1. install what is missing: clang, libclang-dev and fuse3;
  2. build rewindfs into $CARGO_TARGET_DIR
     (the first build takes about 13 minutes on two processors, nearly all of it RocksDB);
END
if [ -n "$dir" ]; then
    echo "  3. mount it over $dir, whose history is then kept beside it, in" \
        "$(dirname "$dir")/.$(basename "$dir").rewind."
else
    echo "  3. make a small working directory in a temporary folder, mount over it, edit, make"
    echo "     snapshots, break things, bring them back, and take it all off again."
fi
echo

# What is missing.
command -v cargo > /dev/null || die "cargo is missing: install Rust from https://rustup.rs"
[ -c /dev/fuse ] || die "/dev/fuse is missing: modprobe fuse (in a container: start it with --device /dev/fuse)"
packages=()
command -v clang > /dev/null || packages+=(clang)
ls /usr/lib/llvm-*/lib/libclang*.so* > /dev/null 2>&1 || packages+=(libclang-dev)
command -v fusermount3 > /dev/null || packages+=(fuse3)
if [ ${#packages[@]} -gt 0 ]; then
    install="apt-get install -y ${packages[*]}"
    if [ "$(id -u)" = 0 ]; then
        echo "\$ $install"
        { apt-get update -q && $install; } > /dev/null || die "that failed: $install"
    elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
        echo "\$ sudo $install"
        { sudo apt-get update -q && sudo $install; } > /dev/null || die "that failed: sudo $install"
    else
        echo "As root, please, and then this script again:"
        echo "  $install"
        exit 1
    fi
fi

echo "\$ cargo build --release"
(cd "$here" && cargo build --release) || die "the build failed"
program=$CARGO_TARGET_DIR/release/rewindfs
[ -x "$program" ] || die "the build left no program at $program"
PATH=$(dirname "$program"):$PATH
echo

if [ -n "$dir" ]; then
    echo "\$ rewindfs mount $(quoted "$dir")"
    rewindfs mount "$dir" || die "it was not mounted"
    past=$(quoted "$dir/.snapshots")
    cat <<END

Mounted. A shell that stands in $dir goes there again first: cd "\$PWD"
Three commands to try next: see every snapshot (the first holds what is there now), make one, and
bring a file back as it was.
  ls $past
  mkdir $(quoted "$dir/.snapshots/before")
  cp -a $past/latest/FILE .
And the one that takes it off again (your files stay where they are):
  $(quoted "$program") umount $(quoted "$dir")
END
    exit 0
fi

# ---- the demonstration -------------------------------------------------------------------------
folder=$(mktemp -d "${TMPDIR:-/tmp}/rewindfs-quickstart.XXXXXX")
clean_up() {
    local code=$?
    cd /
    if grep -qs " $folder/" /proc/self/mountinfo; then
        timeout 60 "$program" umount --force "$folder/project" > /dev/null 2>&1 ||
            umount -l "$folder/project" 2> /dev/null || fusermount3 -uz "$folder/project" || true
    fi
    rm -rf --one-file-system "$folder"
    [ $code = 0 ] || echo "quickstart: something was not as it should be (see above)" >&2
}
trap clean_up EXIT

# Prints a command as it is typed, then runs it. A wrong end ends the script.
run() {
    printf '\n$ %s\n' "$1"
    eval "$1" || die "that failed: $1"
}
note() { printf '\n# %s\n' "$*"; }
# Restored must be byte for byte what it was.
same() { cmp "$1" "$2" || die "$1 is not what it was"; }

export GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=you GIT_AUTHOR_EMAIL=you@example.org
export GIT_COMMITTER_NAME=you GIT_COMMITTER_EMAIL=you@example.org
truth=$folder/.truth # copies of what is restored later, made by cp
mkdir "$truth"

note "A small working directory: a git repository"
run "cd $folder"
run "git init -q -b main project"
run "cd project"
run "printf 'fn main() {\n    println!(\"hello\");\n}\n' > main.rs"
run "printf '# Project\n\nDoes things.\n' > README.md"
run "mkdir notes && seq 1 10000 > notes/numbers.txt"
run "git add . && git commit -qm 'first commit' && git log --oneline | wc -l"

note "Mount over it. The shell stands in it, so it goes there again, now through the mount"
run "rewindfs mount ."
run 'cd "$PWD"'
run "rewindfs sync . && ls .snapshots"

note "Work as always, and make a snapshot when you feel like it: mkdir is enough"
run "sed -i s/hello/goodbye/ main.rs"
cp -p main.rs README.md notes/numbers.txt "$truth/"
run "mkdir .snapshots/before-refactor"
run "ls .snapshots"
run "cat .snapshots/first/main.rs"
run "diff .snapshots/first/main.rs main.rs || true"

note "Now break things"
run "echo oops > main.rs"
run "rm README.md"
run "rm -rf notes"
run "git add -A && git commit -qm 'what have I done' && git gc -q --prune=now"
run "ls"

note "The past is still there, with everything in it"
run "ls -l .snapshots/latest/"
run "wc -l .snapshots/before-refactor/notes/numbers.txt"

note "Bring it back with cp"
run "cp .snapshots/before-refactor/main.rs ."
same main.rs "$truth/main.rs"
run "cp -a .snapshots/latest/README.md ."
same README.md "$truth/README.md"
run "cp -a .snapshots/latest/notes ."
same notes/numbers.txt "$truth/numbers.txt"
run "cat main.rs"

note "Nobody made a snapshot of this, and it comes back all the same"
run "echo 'an idea' > idea.txt"
cp idea.txt "$truth/"
run "sleep 2; rm idea.txt; rewindfs sync ."
run "find .snapshots/.checkpoints/ -mindepth 3 -maxdepth 3 -name idea.txt | tail -1"
run 'cp "$(find .snapshots/.checkpoints/ -mindepth 3 -maxdepth 3 -name idea.txt | tail -1)" .'
same idea.txt "$truth/idea.txt"

note "The same from the command line"
run "rewindfs snapshot . done --message 'all is well again'"
run "rewindfs list ."
run "rewindfs status ."

note "Leave: the directory is an ordinary one again"
run "cd .."
run "rewindfs umount project"
run "ls -A project"
same project/main.rs "$truth/main.rs"
same project/README.md "$truth/README.md"
same project/notes/numbers.txt "$truth/numbers.txt"
same project/idea.txt "$truth/idea.txt"
run "du -sh .project.rewind"

note "Every restored file is byte for byte what it was. On your own directory:"
echo "  mnt-examples/quickstart.sh DIR"
