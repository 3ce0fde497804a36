const PROGRAM = /^(?:docker|podman|nerdctl|ctr|crictl|skopeo|crane|buildah|helm|oras)$/;
const COMMAND =
	/^(?:container|images?|pull|push|tag|run|create|copy|inspect|save|manifest|buildx|imagetools|digest|model|plugin|show|chart)$/;
const ALONE =
	/^(?:--(?:rm|detach|interactive|tty|init|privileged|read-only|quiet|no-healthcheck|.*=.*)|-[ditqPa]+)$/;
const PLATFORM = /\s--platform[=\s]([a-z\d]+\/[\w/]+)/;
const VERSION = /^\W*helm .*--version[=\s]([\w.+-]+)/;
const DIGEST = /^(?:sha256:)?[0-9a-f]{64}$/;
const NAME =
	/^(?:[a-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@\w+:[0-9a-f]{32,})?$/;
const WEB = /^(?:https?:\/\/|hub\.docker\.com\/|github\.com\/|quay\.io\/repository\/)/;
const DOCKER_HUB = /^(?:(?:index\.|registry-1\.)?docker\.io|registry\.hub\.docker\.com)\//;

/** @type {Portal.ParsePaste} */
export const parsePaste = (text) => {
	/** @type {Portal.Pasted} */
	const pasted = { images: [] };
	const lines = text
		.replace(/\\\r?\n/g, ' ')
		.split(/[\n;|]|&&/)
		.map(readLine);
	const marked = lines.filter(({ isMarked }) => isMarked);
	const noImages = ['scratch', ...lines.map(({ stage }) => stage)];
	for (const { named, platform, isMarked } of marked[0] ? marked : lines) {
		if (platform) pasted.platform = platform;
		for (const word of named) if (!isMarked || !noImages.includes(word)) readWord(word, pasted);
	}
	if (text.trim() && pasted.images.length === 0) pasted.problem ??= 'unreadable';
	pasted.images = [...new Set(pasted.images)];
	return pasted;
};

/** @param {string} line */
const readLine = (line) => {
	const words = line.split(/[\s,"'`]+/).filter(Boolean);
	while (/^(?:[$#>-]|sudo)$/.test(words[0] ?? '')) words.shift();
	const [first = ''] = words;
	const isCommand = PROGRAM.test(first) && words.length > 1;
	const isMarked = isCommand || (/^(?:from|image:)$/i.test(first) && words.length > 1);
	const named = [];
	let isKnown = !isCommand;
	for (let at = isMarked ? 1 : 0; at < words.length; at++) {
		const word = words[at] ?? '';
		if (word.startsWith('-')) {
			// The image follows all flags.
			if (!ALONE.test(word) && (words[at + 2] || word === '--platform')) at++;
		} else if (isCommand && COMMAND.test(word)) isKnown = true;
		else {
			if (isKnown) named.push(word);
			// Its command or target follows.
			if (isMarked) break;
		}
	}
	const version = VERSION.exec(line)?.[1];
	if (version && named[0]) named[0] += `:${version.replace('+', '_')}`;
	const stage = /^as$/i.test(words.at(-2) ?? '') ? words.at(-1) : '';
	return { named, isMarked, stage, platform: PLATFORM.exec(line)?.[1] };
};

/** @type {Portal.ReadWord} */
const readWord = (word, pasted) => {
	const { images } = pasted;
	if (DIGEST.test(word)) {
		const before = images.pop();
		if (before) images.push(`${repositoryOf(before)}@sha256:${word.slice(-64)}`);
		else pasted.problem = 'digest';
		return;
	}
	const found = WEB.test(word) ? fromUrl(word) : word;
	const plain = found.replace(/^[a-z-]+:\/\//, '').replace(/[.:/]+$/, '');
	const name = repositoryOf(plain).toLowerCase() + plain.slice(repositoryOf(plain).length);
	if (NAME.test(name)) images.push(name);
	else pasted.problem = 'unreadable';
};

/** @param {string} text */
const fromUrl = (text) => {
	const address = text.replace(/^(?!https?:)/, 'https://');
	if (!URL.canParse(address)) return '?';
	const { host, pathname, searchParams } = new URL(address);
	const path = pathname.replace(/%2F/gi, '/').replace(/%3A/gi, ':').split('/').filter(Boolean);
	const [a = '', b = '', c = '', d = ''] = path;
	const tag = searchParams.get('tag');
	const digest = path.find((part) => part.startsWith('sha256:'));
	const version = digest ? `@${digest}` : tag ? `:${tag}` : '';
	if (host === 'hub.docker.com') {
		if (a === '_') return b;
		if (a === 'layers') return `${b}/${c}:${d}`;
		if (a === 'repository') return `${c}/${d}`;
		return a === 'r' ? `${b}/${c}` : '?';
	}
	if (host === 'github.com') {
		const owner = /^(?:orgs|users)$/.test(a) ? b : a;
		const rest = path.slice(path.indexOf('container') + 1);
		const name = rest.filter((part) => !/^(?:package|versions|\d+)$/.test(part));
		return path.includes('container') ? `ghcr.io/${owner}/${name.join('/')}${version}` : '?';
	}
	if (host === 'quay.io' && a === 'repository') return `${host}/${b}/${c}${version}`;
	return `${host}/${path.join('/')}`;
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
