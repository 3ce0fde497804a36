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

/** @type {Portal.Loaders} */
const LOADERS = {
	docker: { own: ['docker'], as: 'docker-archive' },
	'docker-classic': { own: ['docker'], as: 'docker-archive' },
	oci: { own: [], as: 'oci-archive' },
};

/**
 * A word for a shell.
 *
 * @param {string} word
 */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** @type {Portal.FetchCommands} */
export const fetchCommands = (url, file, format) => {
	const pipe = `curl -fL '${url}' |`;
	const name = quoted(file);
	const files = {
		wget: `wget -c -O ${name} '${url}'`,
		curl: `curl -fL -C - -o ${name} '${url}'`,
		aria2c: `aria2c -c -x4 -s4 -o ${name} '${url}'`,
	};
	if (format === 'files' || format === 'rootfs') return files;
	return {
		...files,
		...(LOADERS[format].own[0] && { 'docker load': `${pipe} docker load` }),
		podman: `${pipe} podman load`,
		ctr: `${pipe} ctr images import -`,
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
export const loadCommands = (file, format, images) => {
	if (format === 'files') return /\.(?:tar(?:\.\w+)?|tgz)$/.test(file) ? `tar -xf ${quoted(file)}` : '';
	const name = file.replace(/\.tar$/, '');
	if (format === 'rootfs')
		return [
			`mkdir ${name} && tar -xpf ${file} -C ${name}`,
			`wsl --import ${name} C:\\wsl\\${name} ${file}`,
			`machinectl import-tar ${file} ${name}`,
			`docker import ${file} ${name}`,
		].join('\n');
	const { own, as } = LOADERS[format];
	const lines = [
		...[...own, 'podman', 'nerdctl'].map((tool) => `${tool} load -i ${file}`),
		`ctr images import ${file}`,
		`k3s ctr images import ${file}`,
		`kind load image-archive ${file}`,
		`udocker load -i ${file} ${name}`,
		`apptainer build ${name}.sif ${as}:${file}`,
		`skopeo copy ${as}:${file} docker://registry.lan/name:tag`,
	];
	if (images > 1) lines.splice(-3, 2);
	return lines.join('\n');
};
