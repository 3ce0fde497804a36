#!/bin/sh
# Installs DockerProxy as a systemd service. `install.sh --help` lists the options.
set -eu

PROGRAM=/opt/dockerproxy
COMMAND=/usr/local/bin/dockerproxy
UNITS=/usr/local/lib/systemd/system
CONFIG=/etc/dockerproxy
SETTINGS=$CONFIG/dockerproxy.toml
# The oldest systemd with all features of the units.
SYSTEMD=252

usage() {
	cat <<-END
		Usage: install.sh [--domain NAME [--domain NAME]… --email ADDRESS [--staging]] [--dry-run]
		       install.sh --uninstall [--keep-data] [--dry-run]

		Installs DockerProxy with its Node.js from this clone or release into $PROGRAM, and starts it. To upgrade, run
		the newer install.sh. An upgrade keeps settings, certificates, and cache.

		  --domain NAME     serve HTTPS under this name, with a certificate from Let's Encrypt
		  --email ADDRESS   contact address for Let's Encrypt; this option accepts its terms of service
		  --staging         get test certificates from the staging CA, which browsers don't trust
		  --uninstall       remove the program, settings, secrets, certificates, and cache
		  --keep-data       with --uninstall, keep settings, secrets, certificates, and cache
		  --dry-run         show the steps without running them

		A first installation writes these options to $SETTINGS. Later, edit this file.
	END
}

main() {
	domains='' email='' staging='' dry_run='' uninstall='' keep_data=''
	while [ $# -gt 0 ]; do
		case $1 in
		--domain | --email)
			case ${2-} in
			'' | -*) fail "$1: a value is missing" ;;
			*[!A-Za-z0-9.@_+-]*) fail "$1: $2 has invalid characters" ;;
			esac
			if [ "$1" = --email ]; then email=$2; else domains="$domains $2"; fi
			shift
			;;
		--staging) staging=1 ;;
		--uninstall) uninstall=1 ;;
		--keep-data) keep_data=1 ;;
		--dry-run) dry_run=1 ;;
		--help | -h) usage && exit ;;
		*) usage >&2 && fail "unknown option $1" ;;
		esac
		shift
	done
	[ -z "$domains" ] || [ -n "$email" ] || fail "--domain needs --email: a contact address for Let's Encrypt"
	[ -n "$dry_run" ] || [ "$(id -u)" = 0 ] || fail 'installing requires root: use sudo'
	if [ -n "$uninstall" ]; then remove; else install_all; fi
}

fail() {
	printf 'install.sh: %s.\n' "$1" >&2
	exit 1
}

# Runs a command, or prints it with --dry-run.
run() {
	if [ -n "$dry_run" ]; then printf '  %s\n' "$*"; else "$@"; fi
}

install_all() {
	source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
	version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$source/package.json")
	check_machine
	printf 'Installing DockerProxy %s to %s.\n' "$version" "$PROGRAM"
	stage=$PROGRAM.new
	[ -n "$dry_run" ] || trap 'rm -rf "$stage"' EXIT
	build
	configure
	# Check with the new program, before changing the running service.
	if [ -z "$dry_run" ]; then
		settings=$("$stage/node_modules/.bin/node" "$stage/bin/dockerproxy.js" check-config) ||
			fail "correct $SETTINGS and run this again; the installed version is unchanged"
		! is_public || check_ports
	fi
	replace
	start
	[ -n "$dry_run" ] || advise
}

check_machine() {
	case $(uname -s)/$(uname -m) in
	Linux/x86_64 | Linux/aarch64) ;;
	*) fail "requires Linux on x86-64 or arm64, but this is $(uname -s) on $(uname -m)" ;;
	esac
	[ -d /run/systemd/system ] || [ -n "$dry_run" ] || fail 'systemd is not running; to use a container instead, see deploy/README.md'
	found=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
	[ "${found:-0}" -ge $SYSTEMD ] || fail "requires systemd $SYSTEMD or later, as in Debian 12 and Ubuntu 24.04; found: ${found:-none}"
	has_packages || check_npm
}

# A release includes its packages; a clone has them after npm run setup.
has_packages() {
	modules=$source/node_modules
	[ -x "$modules/.bin/node" ] && [ -z "$(find "$source/package-lock.json" -newer "$modules/.package-lock.json")" ]
}

check_npm() {
	command -v npm >/dev/null ||
		fail 'npm is missing: install it (apt-get install npm), or use a release, which includes all packages'
	(cd "$source" && npm run --silent check-npm) ||
		fail 'this npm cannot install the packages; see the advice above'
}

# Builds the new program beside the one that may be running.
build() {
	run rm -rf "$stage"
	run mkdir -p "$stage"
	for part in bin src web vendor deploy docs package.json package-lock.json LICENSE README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md; do
		run cp -RPp "$source/$part" "$stage/$part"
	done
	if has_packages; then
		run mkdir "$stage/node_modules"
		[ -n "$dry_run" ] || tar -C "$modules" --exclude=./.cache -cf - . | tar -C "$stage/node_modules" -xf -
		[ -n "$dry_run" ] || prune
	else
		(
			run cd "$stage"
			# Packages must not run scripts as root. Our script links the bundled Node.js, which npm 9 and 10 do not.
			run npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
			run npm run --silent prepare
		) || fail 'npm could not install the packages; see its messages above'
	fi
	# Headers for compiling native modules, which DockerProxy does not need.
	run rm -rf "$stage"/node_modules/node-linux-*/include
	run chown -R 0:0 "$stage"
	run chmod -R u=rwX,go=rX "$stage"
	run "$stage/node_modules/.bin/node" --version >/dev/null || fail 'Node.js does not run here: is the package libstdc++6 installed?'
}

# Removes the packages of a clone that only development needs.
prune() {
	cd "$stage"
	node_modules/.bin/node -e '
		const { readFileSync, rmSync } = require("node:fs");
		const { packages } = JSON.parse(readFileSync("node_modules/.package-lock.json", "utf8"));
		for (const [path, { dev }] of Object.entries(packages)) if (dev) rmSync(path, { recursive: true, force: true });
	' || fail 'the packages of this clone are incomplete: run npm run setup'
	find node_modules -xtype l -path '*/.bin/*' -delete
	find node_modules -mindepth 1 -type d -empty -delete
	cd "$source"
}

# Writes the settings of a first installation: all settings as comments, and the given options.
configure() {
	if [ -e "$SETTINGS" ]; then
		[ -z "$domains" ] || printf '%s exists and stays unchanged; --domain, --email, and --staging have no effect.\n' "$SETTINGS"
		return
	fi
	printf 'The settings are in %s.\n' "$SETTINGS"
	run mkdir -p "$CONFIG"
	[ -z "$dry_run" ] || return 0
	listed="$(printf '%s' "$domains" | sed 's/ \([^ ]*\)/, "\1"/g; s/^, //')"
	sed "
		${domains:+s|^# domains = .*|domains = [$listed]|
		s|^# acme_email = .*|acme_email = \"$email\"|}
		${staging:+s|^# acme_staging = .*|acme_staging = true|}
	" "$source/deploy/dockerproxy.example.toml" >"$SETTINGS.new"
	chmod 644 "$SETTINGS.new"
	mv "$SETTINGS.new" "$SETTINGS"
}

# systemd cannot open the ports of another server.
check_ports() {
	! systemctl is-active --quiet dockerproxy.socket || return 0
	main=$(systemctl show --value --property=MainPID dockerproxy.service)
	for port in 80 443; do
		# Listening sockets in /proc: address:port in hexadecimal, state, inode.
		inodes=$(awk -v port="$(printf '%04X' $port)" '$4 == "0A" && $2 ~ ":" port "$" { print $10 }' /proc/net/tcp*)
		for inode in $inodes; do
			[ -z "$(find "/proc/$main/fd" -lname "socket:\[$inode\]" 2>/dev/null)" ] || continue
			fail "port $port is taken: run ss -ltnp 'sport = :$port' to find the server. Stop it, or run DockerProxy behind it (see $source/deploy/README.md), then run this again; the installed version is unchanged"
		done
	done
}

replace() {
	run rm -rf "$PROGRAM.old"
	[ ! -e "$PROGRAM" ] || run mv "$PROGRAM" "$PROGRAM.old"
	run mv "$stage" "$PROGRAM"
	run rm -rf "$PROGRAM.old"
	run mkdir -p "$UNITS"
	for unit in dockerproxy.service dockerproxy.socket dockerproxy-metrics.socket; do
		run install -m 644 "$source/deploy/systemd/$unit" "$UNITS/$unit"
	done
	run install -m 755 "$source/deploy/systemd/dockerproxy" "$COMMAND"
	run systemctl daemon-reload
}

# For HTTPS on port 443, systemd opens ports 80 and 443. The service opens any other ports itself.
start() {
	run systemctl reset-failed 'dockerproxy*'
	if [ -n "$dry_run" ]; then
		printf '  systemctl enable --now dockerproxy.socket (if the settings have HTTPS on port 443)\n'
	elif is_public; then
		# systemd opens ports only for a stopped service.
		systemctl is-active --quiet dockerproxy.socket || systemctl stop dockerproxy.service
		systemctl enable --quiet --now dockerproxy.socket ||
			fail "systemd cannot open ports 80 and 443: run ss -ltnp 'sport = :80 or sport = :443' to find other servers, and systemctl status dockerproxy.socket for the reason; then run this again"
	else
		systemctl disable --quiet --now dockerproxy.socket
	fi
	run systemctl enable --quiet dockerproxy.service
	run systemctl restart dockerproxy.service || {
		journalctl --unit=dockerproxy --lines=20 --no-pager --output=cat >&2
		fail 'the service does not start; see its log above, and Troubleshooting in deploy/README.md'
	}
}

is_public() {
	! setting tls | grep -qx off && setting https_port | grep -qx 443
}

# Prints the values of a setting, one on each line.
setting() {
	printf '%s\n' "${settings-}" | sed -n "s/^$1 = \(.*\)  #.*/\1/p" | tr -d '"[] ' | tr , '\n'
}

advise() {
	printf '\nDockerProxy %s is running. Check these points:\n\n' "$version"
	if ! is_public; then
		printf '  The settings in %s have no HTTPS on port 443. For other machines, set domains and\n' "$SETTINGS"
		printf '  acme_email and run this again, or put a proxy in front; see %s/deploy/README.md.\n' "$PROGRAM"
		printf '  dockerproxy healthcheck checks the service, dockerproxy check-config prints its settings.\n'
		return
	fi
	names=$(setting domains)
	here=$(hostname -I 2>/dev/null || true)
	for name in $names; do
		addresses=$(getent ahosts "$name" | awk '{ print $1 }' | sort -u | tr '\n' ' ' || true)
		printf '  DNS: %s resolves to %s; this machine has %s\n' "$name" "${addresses:-no address}" "${here:-unknown addresses}"
	done
	printf '  Firewall: open ports 80 and 443 to everyone, also at your provider.\n'
	printf '  Certificate: journalctl -u dockerproxy shows "New certificate" within a minute or two, or the reason of a failure.\n'
	for name in $names; do
		printf '  Then, on another machine: wget --content-disposition '\''https://%s/dl?myimage=busybox'\''\n' "$name"
	done
}

remove() {
	run systemctl disable --quiet --now dockerproxy.socket dockerproxy-metrics.socket dockerproxy.service || true
	for unit in dockerproxy.service dockerproxy.socket dockerproxy-metrics.socket; do
		run rm -f "$UNITS/$unit"
	done
	run rmdir --parents --ignore-fail-on-non-empty "$UNITS" || true
	run rm -rf "$PROGRAM" "$PROGRAM.new" "$PROGRAM.old" "$COMMAND"
	if [ -z "$keep_data" ]; then
		for folder in "$CONFIG" /etc/systemd/system/dockerproxy*.d /etc/credstore/dockerproxy.* /etc/credstore.encrypted/dockerproxy.* \
			/var/lib/dockerproxy /var/lib/private/dockerproxy /var/cache/dockerproxy /var/cache/private/dockerproxy \
			/var/cache/dockerproxy-code /var/cache/private/dockerproxy-code; do
			if [ -e "$folder" ] || [ -L "$folder" ]; then run rm -rf "$folder"; fi
		done
	fi
	run systemctl daemon-reload
	run systemctl reset-failed 'dockerproxy*' || true
	[ -n "$dry_run" ] || printf 'Removed DockerProxy%s.\n' "${keep_data:+; its settings, secrets, certificates, and cache are kept}"
}

main "$@"
