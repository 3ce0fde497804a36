#!/bin/sh
# Packs a release for install.sh: what that takes from a clone, and the packages that npm would fetch. Prints its name.
#
#     deploy/release.sh FOLDER [x64|arm64]      → FOLDER/dockerproxy-VERSION-linux-x64.tar.gz
set -eu

folder=$(CDPATH='' cd -- "${1:?a folder for the release is missing}" && pwd)
machine=$(uname -m)
case ${2:-$machine} in
x64 | x86_64) arch=x64 ;;
arm64 | aarch64) arch=arm64 ;;
*) printf 'release.sh: there is no Node.js for %s.\n' "${2:-$machine}" >&2 && exit 1 ;;
esac
cd "$(dirname -- "$0")/.."
name=dockerproxy-$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)-linux-$arch
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

mkdir "$stage/$name"
for part in bin src web vendor deploy docs package.json package-lock.json LICENSE README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md; do
	cp -RP "$part" "$stage/$name/$part"
done
# Packages must not run their own scripts. Our script links the bundled Node.js, which npm 9 and 10 do not.
(cd "$stage/$name" && npm ci --omit=dev --ignore-scripts --os=linux --cpu="$arch" --prefer-offline --no-audit --no-fund --loglevel=error >&2)
(cd "$stage/$name" && npm run --silent prepare >&2)
# Headers are only needed to compile modules.
rm -rf "$stage/$name"/node_modules/node-linux-*/include
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner -czf "$folder/$name.tar.gz.new" "$name"
mv "$folder/$name.tar.gz.new" "$folder/$name.tar.gz"
printf '%s\n' "$folder/$name.tar.gz"
