const NAME =
	/^(?:(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+|\/)[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@\w+:[0-9a-f]{32,})?$/;
/** Characters of a repository, a tag, and a digest together. */
const NAME_MAX = 255 + 1 + 128 + 1 + 135;
/** Docker takes it for the ID of an image. */
const ID = /^(?:sha256:)?[0-9a-f]{64}$/;
const DOCKER_HUB = /^(?:(?:index\.|registry-1\.)?docker\.io|registry\.hub\.docker\.com)\//;

/** @type {Portal.ParsePaste} */
export const parsePaste = async (text, host) => {
	const [first, ...others] = text.trim().split(/[\s,]+/);
	const name = toName(first ?? '');
	if (!first) return { images: [], candidates: [] };
	if (name && others.length === 0 && !name.startsWith(`${host}/`)) return { images: [name], candidates: [] };
	// Most visitors paste a name, so the rest is loaded by need.
	const { readPaste } = await import('./paste-reader.js');
	return readPaste(text, host);
};

/** @type {Portal.ToName} */
export const toName = (word) => {
	if (word.length > NAME_MAX) return undefined;
	const repository = repositoryOf(word);
	const [tag = '', digest] = word.slice(repository.length).split('@');
	const name = repository.toLowerCase() + tag + (digest ? `@${digest.toLowerCase()}` : '');
	return NAME.test(name) && !ID.test(name) ? name : undefined;
};

/** @param {string} name */
export const repositoryOf = (name) => name.replace(/@.*/, '').replace(/:[^/]*$/, '');

/** @param {string} image */
export const fullName = (image) => {
	const short = image.replace(DOCKER_HUB, '');
	const isElsewhere = short === image && /^(?:[^/]*[.:][^/]*|localhost)\//.test(image);
	const path = isElsewhere ? image : `docker.io/${short.includes('/') ? '' : 'library/'}${short}`;
	return /@|:[^/]*$/.test(path) ? path : `${path}:latest`;
};
