#!/bin/bash
# Makes the store that is kept of a format: small, with every kind of thing in it. Run once, when
# the format gets a new number; what it made is never made anew, for it stands for all the stores
# that people have.
#
#   tests/stores/make.sh PROGRAM    writes format-N.tar.gz here; then bless tests/suite/kept.rs
set -euo pipefail
program=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
work=$folder/work
trap 'cd /; umount -l "$work" 2> /dev/null || true; rm -rf --one-file-system "$folder"' EXIT
mkdir "$work"
cd "$work"

mkdir -p src/deep empty
printf 'fn main() {}\n' > src/main.rs
: > src/empty
{ yes 0123456789 || true; } | head -c 600000 > numbers # more than one chunk
truncate -s 3M sparse && printf 'in the midst' | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
ln src/main.rs hard
ln -s src/main.rs soft
mkfifo -m 640 fifo
mknod device c 1 3
printf 'x' > $'a name with\nall sorts \xff'
setfattr -n user.note -v 'remember' src
setfacl -m u:1234:rw numbers
chown 1234:5678 hard && chmod 4751 hard
touch -d '2001-02-03 04:05:06.789 UTC' src/deep

cd "$folder"
"$program" mount work
cd "$work"
"$program" sync .
mkdir .snapshots/second
printf '// more\n' >> src/main.rs
mv src/deep src/deeper && rm numbers && printf 'line 7\n' | dd of=sparse bs=1 seek=9 conv=notrunc status=none
"$program" snapshot . third --message 'the third'
rm -r src && mkdir src && printf 'new\n' > src/main.rs
"$program" sync .
rm hard soft
mkdir .snapshots/gone && rmdir .snapshots/gone
cd "$folder"
"$program" umount work

rm -f .work.rewind/log* .work.rewind/socket .work.rewind/rocks/LOG*
number=$(tr -dc 0-9 < .work.rewind/format)
target=$here/format-$number.tar.gz
[ ! -e "$target" ] || { echo "$target is there already and is never made anew" >&2; exit 1; }
mv .work.rewind store
tar -c --sort=name --owner=0 --group=0 store | gzip -9n > "$target"
ls -l "$target"
