/** @type {Portal.DownloadUrl} */
export const downloadUrl = ({ images, platform, format }) => {
	const query = images.map((image) => `myimage=${escaped(image)}`);
	if (platform) query.push(`platform=${escaped(platform)}`);
	if (!isDefault(format)) query.push(`format=${format}`);
	return `/dl?${query.join('&')}`;
};

/**
 * The formats that the server chooses by itself.
 *
 * @param {Portal.Format} format
 */
export const isDefault = (format) => format === 'docker' || format === 'files';

/** @param {string} value */
export const escaped = (value) =>
	encodeURIComponent(value)
		.replace(/%(?:2F|3A|40)/g, decodeURIComponent)
		.replaceAll("'", '%27');

/**
 * A word for a shell.
 *
 * @param {string} word
 */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/**
 * A word for PowerShell, which takes the curly quotes for quotes, too.
 *
 * @param {string} word
 */
const quotedForPowerShell = (word) =>
	/^[\w./+-]+$/.test(word) ? word : `'${word.replace(/['\u2018-\u201b]/g, '$&$&')}'`;

/** @type {Portal.ExactDownload} */
export const exactDownload = (found, { platform, ...download }) => {
	const [first, ...others] = found.map((image) => image.platform ?? '');
	const isOfIndex = found.some(({ indexDigest }) => indexDigest);
	const common = isOfIndex && others.every((other) => other === first) ? first : '';
	return {
		...download,
		images: found.map(({ pinned, name }) => pinned ?? name),
		platform: platform || common || '',
	};
};

/** @type {Portal.FetchCommands} */
export const fetchCommands = (url, file, format) => {
	const name = quoted(file);
	const wget = `wget -c -O ${name} '${url}'`;
	// After a refusal, curl states only the status. A request for the last byte shows the reason.
	const fetch = (/** @type {string} */ curl, word = name) => `${curl} -fL -C - -o ${word} '${url}'`;
	const explain = (/** @type {string} */ curl) => `${curl} -sSL --fail-with-body -r -1 '${url}'`;
	const { WSL: _, ...loaders } = loadersOf(file, format, new URL(url).searchParams.getAll('myimage'));
	return {
		wget,
		curl: `${fetch('curl')} || { [ $? = 22 ] && ${explain('curl')}; }`,
		aria2c: `aria2c -c -x4 -s4 -o ${name} '${url}'`,
		PowerShell: `${fetch('curl.exe', quotedForPowerShell(file))}; if ($LASTEXITCODE -eq 22) { ${explain('curl.exe')} }`,
		...Object.fromEntries(Object.entries(loaders).map(([tool, line]) => [tool, `${wget} && ${line}`])),
	};
};

/** @type {Portal.CheckCommands} */
export const checkCommands = (sums) => {
	const all = sums.map(quoted).join(' ');
	const compare = sums.map((line) => {
		const [, sum = '', file = ''] = /^(\S*) {2}(.*)$/.exec(line) ?? [];
		return `(Get-FileHash -LiteralPath ${quotedForPowerShell(file)}).Hash -eq '${sum}'`;
	});
	return {
		linux: `printf '%s\\n' ${all} | sha256sum -c`,
		macos: `printf '%s\\n' ${all} | shasum -a 256 -c`,
		powershell: compare.join('\n'),
	};
};

/** @type {Portal.PullCommands} */
export const pullCommands = (host, names, platform) => {
	const choice = platform && `--platform ${platform} `;
	const tools = names.some((name) => /^[^/]*:/.test(name))
		? []
		: ['docker', 'podman', 'nerdctl', 'ctr image'];
	return Object.fromEntries(
		tools.map((tool) => [
			`${tool} pull`,
			names.map((name) => `${tool} pull ${choice}${host}/${name}`).join('\n'),
		]),
	);
};

/** @type {Portal.LoadCommands} */
export const loadCommands = (file, format, images) =>
	Object.values(loadersOf(file, format, images)).join('\n');

/** Returns the line of each tool that reads a file, by the name of the tool. @type {Portal.LoadersOf} */
const loadersOf = (file, format, images) => {
	const name = quoted(file);
	const stem = file.replace(/(?:_rootfs)?\.tar$/, '');
	if (format === 'files')
		return /\.(?:tar(?:\.(?!part\d)\w+)?|tgz)$/.test(file) ? { tar: `tar -xf ${name}` } : {};
	if (format === 'rootfs')
		return {
			tar: `mkdir ${stem} && tar -xpf ${name} -C ${stem}`,
			WSL: `wsl --import ${stem} C:\\wsl\\${stem} ${name}`,
			machinectl: `machinectl import-tar ${name} ${stem}`,
			docker: `docker import ${name} ${targetOf(images[0] ?? '')}`,
		};
	const archive = `${format === 'oci' ? 'oci' : 'docker'}-archive:${name}`;
	const isOne = images.length === 1;
	return {
		...(format !== 'oci' && { docker: `docker load -i ${name}` }),
		// Podman loads one image from an OCI layout.
		...((format !== 'oci' || isOne) && { podman: `podman load -i ${name}` }),
		nerdctl: `nerdctl load -i ${name}`,
		ctr: `ctr images import ${name}`,
		k3s: `k3s ctr images import ${name}`,
		kind: `kind load image-archive ${name}`,
		...(isOne && {
			apptainer: `apptainer build --force ${stem}.sif ${archive}`,
			udocker: `udocker load -i ${name} ${stem}`,
			skopeo: `skopeo copy ${archive} docker://registry.lan/${targetOf(images[0] ?? '')}`,
		}),
	};
};

/** The name and the tag of an image in another registry: `python:3.12-slim`. @param {string} image */
const targetOf = (image) => {
	const [path = ''] = (image.split('/').at(-1) ?? '').split('@');
	return path.includes(':') ? path : `${path}:latest`;
};
