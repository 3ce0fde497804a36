#!/bin/sh
# Completes a delta of DockerProxy with the layers of an older archive, for tools that cannot load a delta.
#
#     sh delta.sh app_2.1_delta-from-2.0.tar app_2.0.tar [app_2.1.tar [2.1]]
#
# The last argument sets the image's tag, which a delta may omit: see docs/deltas.md.
# Requires POSIX sh, tar, sed, and tr. Checks layers if sha256sum or shasum is installed.
set -eu
LC_ALL=C
export LC_ALL

fail() {
  printf 'delta.sh: %s\n' "$1" >&2
  exit 1
}

case $# in [234]) ;; *) fail 'usage: sh delta.sh DELTA.tar OLDER.tar [COMPLETE.tar [TAG]]' ;; esac
delta=$1
older=$2
complete=${3:-$(printf '%s' "$delta" | sed 's/_delta-from-.*\.tar$//; s/\.tar$/_complete/').tar}
tag=${4:-}
case $tag in *[!A-Za-z0-9_.-]*) fail "\"$tag\" is not a valid tag" ;; esac
for file in "$delta" "$older"; do
  [ -r "$file" ] || fail "$file cannot be read"
done
[ ! -e "$complete" ] || fail "$complete is there already"

folder=$(mktemp -d "${TMPDIR:-/tmp}/delta.XXXXXX") || fail 'cannot make a temporary folder'
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

mkdir "$folder/new" "$folder/old"
tar -xf - -C "$folder/new" <"$delta" || fail "$delta is not a whole tar file"
[ -f "$folder/new/index.json" ] || fail "$delta is no archive of DockerProxy: it has no index.json"
tar -xf - -C "$folder/old" <"$older" || fail "$older is not a whole tar file"

# Prints the path of each blob that a manifest or an index names.
named() {
  tr ',{}' '\n\n\n' <"$1" |
    sed -n 's/.*"digest"[[:space:]]*:[[:space:]]*"\(sha[0-9]*\):\([0-9a-f]*\)".*/blobs\/\1\/\2/p'
}

check() {
  hex=${1##*/}
  case $1 in blobs/sha256/*) ;; *) return 0 ;; esac
  if command -v sha256sum >/dev/null; then
    found=$(sha256sum <"$folder/new/$1")
  elif command -v shasum >/dev/null; then
    found=$(shasum -a 256 <"$folder/new/$1")
  else
    return 0
  fi
  [ "${found%% *}" = "$hex" ] || fail "$1 is damaged"
}

# Takes a blob from the older archive where the delta lacks it.
complete_with() {
  if [ ! -f "$folder/new/$1" ]; then
    [ -f "$folder/old/$1" ] || fail "neither file has $1: is $older what the delta is from?"
    mkdir -p "$folder/new/${1%/*}"
    mv "$folder/old/$1" "$folder/new/$1"
  fi
  check "$1"
}

# An index names manifests, or further indexes; a manifest names its config and its layers.
indexes=index.json
while [ -n "$indexes" ]; do
  below=
  for index in $indexes; do
    for manifest in $(named "$folder/new/$index"); do
      complete_with "$manifest"
      if grep -q '"manifests"' "$folder/new/$manifest"; then
        below="$below $manifest"
      else
        for blob in $(named "$folder/new/$manifest"); do complete_with "$blob"; done
      fi
    done
  done
  indexes=$below
done

# Renames the image from NAME@DIGEST to NAME:TAG.
if [ -n "$tag" ]; then
  key='"io.containerd.image.name":"'
  name=$(sed -n "s/.*$key\([^\"@]*\)@.*/\1/p" "$folder/new/index.json")
  [ -n "$name" ] || fail "$delta already has a tag"
  [ "$(tr , '\n' <"$folder/new/index.json" | grep -c "$key")" = 1 ] || fail "$delta contains several images"
  retag() {
    sed "$2" "$folder/new/$1" >"$folder/$1"
    mv "$folder/$1" "$folder/new/$1"
  }
  retag index.json "s|${key}[^\"]*\"|$key$name:$tag\",\"org.opencontainers.image.ref.name\":\"$tag\"|"
  [ ! -f "$folder/new/manifest.json" ] || retag manifest.json "s|\"RepoTags\":null|\"RepoTags\":[\"$name:$tag\"]|"
fi

set -- oci-layout index.json
[ ! -f "$folder/new/manifest.json" ] || set -- "$@" manifest.json
tar -cf - -C "$folder/new" "$@" blobs >"$complete.part" || fail "$complete cannot be written"
mv "$complete.part" "$complete"
printf '%s\n' "$complete"
