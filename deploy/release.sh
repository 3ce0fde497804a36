#!/bin/sh
# Makes the files of a release, with the same bytes from the same commit. `release.sh --help` lists them.
set -eu

usage() {
	cat <<-'END'
		Usage: release.sh [--arch x64|arm64] FOLDER [PART…]

		Makes the files of a release in FOLDER and prints their paths. Without --arch, it makes those of both
		architectures; without PART, all parts:

		  tarball   dockerproxy-VERSION-linux-ARCH.tar.gz, which contains install.sh and all packages
		  deb       dockerproxy_VERSION_ARCH.deb, for apt on Debian 12, Ubuntu 24.04, and later
		  image     dockerproxy-VERSION-oci.tar, the container image in the OCI layout. Its C libraries are packages
		            of the Debian that runs this, from the sources of apt
		  npm       dockerproxy-VERSION.tgz, the package for npm
		  sbom      dockerproxy-VERSION.cdx.json, the packages with their licenses and checksums, in CycloneDX
		  sums      SHA256SUMS, the checksums of all files above
	END
}

fail() {
	printf 'release.sh: %s.\n' "$1" >&2
	exit 1
}

main() {
	arches='x64 arm64'
	while :; do
		case ${1-} in
		--help | -h) usage && exit ;;
		--arch)
			case ${2-} in
			x64 | arm64) arches=$2 ;;
			*) fail "--arch takes x64 or arm64, not '${2-}'" ;;
			esac
			shift 2
			;;
		-*) usage >&2 && fail "unknown option $1" ;;
		*) break ;;
		esac
	done
	[ -d "${1-}" ] || { usage >&2 && fail 'a folder for the release is missing'; }
	folder=$(CDPATH='' cd -- "$1" && pwd)
	shift
	[ $# -gt 0 ] || set -- tarball deb image npm sbom sums
	cd "$(dirname -- "$0")/.."
	version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
	# Files have the time of the last commit; see https://reproducible-builds.org/specs/source-date-epoch/.
	SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
	export SOURCE_DATE_EPOCH
	stage=$(mktemp -d)
	trap 'rm -rf "$stage"' EXIT
	for wanted in "$@"; do
		case $wanted in
		tarball | deb) for arch in $arches; do "make_$wanted"; done ;;
		image | npm | sbom | sums) "make_$wanted" ;;
		*) usage >&2 && fail "unknown part $wanted" ;;
		esac
	done
}

# Fills $program with what install.sh takes from a clone, and with the packages that npm would fetch.
make_program() {
	program=$stage/$arch/dockerproxy-$version-linux-$arch
	[ ! -d "$program" ] || return 0
	mkdir -p "$program"
	for part in bin src web vendor deploy docs package.json package-lock.json LICENSE README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md; do
		cp -RP "$part" "$program/$part"
	done
	# Packages must not run their own scripts. Our script links the bundled Node.js, which npm 9 and 10 do not.
	(cd "$program" && npm ci --omit=dev --ignore-scripts --os=linux --cpu="$arch" --prefer-offline --no-audit --no-fund --loglevel=error >&2)
	(cd "$program" && npm run --silent prepare >&2)
	# Headers are only needed to compile modules.
	rm -rf "$program"/node_modules/node-linux-*/include
	chmod -R u=rwX,go=rX "$program"
	find "$program" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

make_tarball() {
	make_program
	name=dockerproxy-$version-linux-$arch.tar.gz
	tar -C "$stage/$arch" --sort=name --owner=0 --group=0 --numeric-owner -cf - "dockerproxy-$version-linux-$arch" |
		gzip -n >"$folder/$name.new"
	publish "$name"
}

# Writes a shell's completion to the file from which Debian's package of that shell loads it.
write_completion() {
	mkdir -p "$root/usr/share/${2%/*}"
	npm start --silent -- completion "$1" >"$root/usr/share/$2"
}

make_deb() {
	command -v dpkg-deb >/dev/null || fail 'dpkg-deb is missing: install the package dpkg'
	make_program
	case $arch in x64) debian=amd64 ;; *) debian=$arch ;; esac
	name=dockerproxy_${version}_$debian.deb
	root=$stage/$arch/deb
	mkdir -p "$root/opt" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/etc/dockerproxy" "$root/usr/share/doc/dockerproxy" "$root/DEBIAN"
	cp -RPp "$program" "$root/opt/dockerproxy"
	cp deploy/systemd/dockerproxy.service deploy/systemd/*.socket "$root/usr/lib/systemd/system"
	cp deploy/systemd/dockerproxy "$root/usr/bin"
	cp deploy/dockerproxy.example.toml "$root/etc/dockerproxy/dockerproxy.toml"
	cp LICENSE "$root/usr/share/doc/dockerproxy/copyright"
	write_completion bash bash-completion/completions/dockerproxy
	write_completion zsh zsh/vendor-completions/_dockerproxy
	write_completion fish fish/vendor_completions.d/dockerproxy.fish
	cp deploy/debian/conffiles deploy/debian/preinst deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN"
	# Counted as Debian's own tools do, because file systems give folders different sizes.
	size=$(find "$root" -type f -printf '%s\n' -o -printf '1\n' | awk '{ size += int(($1 + 1023) / 1024) } END { print size }')
	sed "s/@VERSION@/$version/; s/@ARCH@/$debian/; s/@SIZE@/$size/" deploy/debian/control >"$root/DEBIAN/control"
	chmod -R u=rwX,go=rX "$root"
	find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
	dpkg-deb --root-owner-group -Zzstd --threads-max=1 --build "$root" "$folder/$name.new" >/dev/null
	publish "$name"
}

# Fetches the C libraries that Node.js needs, as packages of another architecture if need be.
fetch_libraries() {
	apt=$stage/apt-$debian
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/packages"
	: >"$apt/status"
	(
		cd "$apt/packages"
		apt_get() {
			apt-get -qq -o APT::Architecture="$debian" -o APT::Architectures="$debian" -o APT::Sandbox::User=root \
				-o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" "$@"
		}
		apt_get update
		apt_get download libc6 libgcc-s1 libstdc++6
	) >&2
}

# Writes a layer with the files of a tree, and with these folders, which belong to the user of the container.
write_layer() {
	layer=$1
	tree=$2
	shift 2
	tar -C "$tree" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf "$layer" .
	[ $# -eq 0 ] || tar -C "$stage/own" --owner=65532 --group=65532 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -rf "$layer" "$@"
	gzip -n "$layer"
}

make_image() {
	command -v apt-get >/dev/null || fail 'apt-get is missing: make the image on Debian or Ubuntu'
	set --
	for arch in $arches; do
		case $arch in x64) debian=amd64 ;; *) debian=$arch ;; esac
		make_program
		fetch_libraries
		libraries=$stage/$arch/libraries
		mkdir -p "$libraries/tmp"
		for package in "$stage/apt-$debian/packages"/*.deb; do dpkg-deb --extract "$package" "$libraries"; done
		rm -rf "$libraries"/usr/lib/*/gconv "$libraries/usr/share/lintian"
		chmod -R u=rwX,go=rX "$libraries"
		chmod 1777 "$libraries/tmp"
		mkdir -p "$stage/$arch/image/opt" "$stage/own/var/lib/dockerproxy" "$stage/own/var/cache/dockerproxy" "$stage/own/var/cache/dockerproxy-code"
		cp -RPp "$program" "$stage/$arch/image/opt/dockerproxy"
		(cd "$stage/$arch/image/opt/dockerproxy" && rm -rf deploy docs ./*.md)
		write_layer "$stage/$arch/libraries.tar" "$libraries"
		write_layer "$stage/$arch/image.tar" "$stage/$arch/image" var/lib/dockerproxy var/cache/dockerproxy var/cache/dockerproxy-code
		set -- "$@" "$debian=$stage/$arch/libraries.tar.gz,$stage/$arch/image.tar.gz"
	done
	npm run --silent image-layout -- "$stage/layout" "$version" "$@"
	name=dockerproxy-$version-oci.tar
	tar -C "$stage/layout" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf "$folder/$name.new" .
	publish "$name"
}

make_npm() {
	npm pack --silent --pack-destination "$stage" >/dev/null
	name=dockerproxy-$version.tgz
	# npm keeps the permissions of the clone, which depend on the umask.
	tar -C "$stage" -xzf "$stage/$name"
	chmod -R u=rwX,go=rX "$stage/package"
	tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - package |
		gzip -n >"$folder/$name.new"
	publish "$name"
}

make_sbom() {
	name=dockerproxy-$version.cdx.json
	npm run --silent sbom >"$folder/$name.new"
	publish "$name"
}

make_sums() {
	(cd "$folder" && sha256sum "dockerproxy-$version"[-.]* "dockerproxy_$version"_*) >"$folder/SHA256SUMS.new"
	publish SHA256SUMS
}

# A file has its name only once it is complete.
publish() {
	mv "$folder/$1.new" "$folder/$1"
	printf '%s\n' "$folder/$1"
}

main "$@"
