/** @type {Portal.DownloadUrl} */
export const downloadUrl = ({ images, platform, format }) => {
	const query = images.map((image) => `myimage=${escaped(image)}`);
	if (platform) query.push(`platform=${escaped(platform)}`);
	if (format !== 'docker') query.push(`format=${format}`);
	return `/dl?${query.join('&')}`;
};

/** @param {string} value */
export const escaped = (value) =>
	encodeURIComponent(value)
		.replace(/%(?:2F|3A|40)/g, decodeURIComponent)
		.replaceAll("'", '%27');

/** @type {Portal.Loaders} */
const LOADERS = {
	docker: { own: ['docker'], as: 'docker-archive' },
	oci: { own: [], as: 'oci-archive' },
};

/** @type {Portal.FetchCommands} */
export const fetchCommands = (url, file, format) => {
	const pipe = `curl -fL '${url}' |`;
	return {
		wget: `wget -c -O ${file} '${url}'`,
		curl: `curl -fL -C - -o ${file} '${url}'`,
		aria2c: `aria2c -c -x4 -s4 -o ${file} '${url}'`,
		...(LOADERS[format].own[0] && { 'docker load': `${pipe} docker load` }),
		podman: `${pipe} podman load`,
		ctr: `${pipe} ctr images import -`,
	};
};

/** @type {Portal.LoadCommands} */
export const loadCommands = (file, format, images) => {
	const name = file.replace(/\.tar$/, '');
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
