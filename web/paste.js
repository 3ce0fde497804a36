const PROGRAM = /^(?:docker|podman|nerdctl|ctr|crictl|skopeo|crane|buildah)$/;
const COMMAND = /^(?:container|images?|pull|run|create|copy|inspect|save|manifest)$/;
/** Flags of `docker run` that no value follows. */
const ALONE = /^(?:--(?:rm|detach|interactive|tty|init|privileged|read-only|quiet|.*=.*)|-[ditqPa]+)$/;
const DIGEST = /^(?:sha256:)?[0-9a-f]{64}$/;
const NAME =
	/^(?:[a-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@\w+:[0-9a-f]{32,})?$/;
const WEB = /^(?:https?:\/\/|hub\.docker\.com\/|github\.com\/|quay\.io\/repository\/)/;

/** @type {Portal.ParsePaste} */
export const parsePaste = (text) => {
	/** @type {Portal.Pasted} */
	const pasted = { images: [] };
	for (const line of text.split('\n')) readLine(line.split(/[\s,;"'`]+/).filter(Boolean), pasted);
	if (text.trim() && pasted.images.length === 0) pasted.problem ??= 'unreadable';
	pasted.images = [...new Set(pasted.images)];
	return pasted;
};

/** @param {string[]} words @param {Portal.Pasted} pasted */
const readLine = (words, pasted) => {
	while (/^(?:[$#>-]|sudo)$/.test(words[0] ?? '')) words.shift();
	const [first = ''] = words;
	const isCommand = PROGRAM.test(first) && words.length > 1;
	const isLine = isCommand || (/^(?:from|image:)$/i.test(first) && words.length > 1);
	for (let at = isLine ? 1 : 0; at < words.length; at++) {
		const word = words[at] ?? '';
		const [flag, value = words[at + 1]] = word.split('=');
		if (flag === '--platform' && value) pasted.platform = value;
		if (word.startsWith('-') && !ALONE.test(word)) at++;
		if (word.startsWith('-') || (isCommand && COMMAND.test(word))) continue;
		readWord(word, pasted);
		// What follows is what runs in it, or where it goes.
		if (isLine) return;
	}
};

/** @param {string} word @param {Portal.Pasted} pasted */
const readWord = (word, pasted) => {
	const { images } = pasted;
	if (DIGEST.test(word)) {
		const before = images.pop();
		if (before) images.push(`${repositoryOf(before)}@sha256:${word.slice(-64)}`);
		else pasted.problem = 'digest';
		return;
	}
	for (const found of WEB.test(word) ? fromUrl(word) : [word]) {
		const plain = found.replace(/^[a-z-]+:\/\//, '').replace(/[.:/]+$/, '');
		// Whatever a keyboard makes of it.
		const name = repositoryOf(plain).toLowerCase() + plain.slice(repositoryOf(plain).length);
		if (NAME.test(name)) images.push(name);
		else pasted.problem = 'unreadable';
	}
};

/** What the address of a web page stands for. @param {string} text */
const fromUrl = (text) => {
	const address = text.replace(/^(?!https?:)/, 'https://');
	if (!URL.canParse(address)) return ['?'];
	const { host, pathname, searchParams } = new URL(address);
	const path = pathname.replace(/%2F/gi, '/').split('/').filter(Boolean);
	const [a = '', b = '', c = '', d = ''] = path;
	const tag = searchParams.get('tag');
	const tagged = (/** @type {string} */ name) => [tag ? `${name}:${tag}` : name];
	if (host === 'hub.docker.com') {
		if (a === '_') return [b];
		if (a === 'layers') return [`${b}/${c}:${d}`];
		return [a === 'repository' ? `${c}/${d}` : `${b}/${c}`];
	}
	if (host === 'github.com') {
		const owner = /^(?:orgs|users)$/.test(a) ? b : a;
		const rest = path.slice(path.indexOf('container') + 1);
		const name = rest.filter((part) => !/^(?:package|versions|\d+)$/.test(part));
		return path.includes('container') ? tagged(`ghcr.io/${owner}/${name.join('/')}`) : ['?'];
	}
	if (host === 'quay.io' && a === 'repository') return tagged(`${host}/${b}/${c}`);
	return [`${host}/${path.join('/')}`];
};

/** Without tag and digest. @param {string} name */
export const repositoryOf = (name) => name.replace(/@.*/, '').replace(/:[^/]*$/, '');

/** `nginx` → `docker.io/library/nginx:latest`, as the server will read it. @param {string} image */
export const fullName = (image) => {
	const [first = '', ...rest] = image.split('/');
	const hasHost = rest.length > 0 && /[.:]|^localhost$/.test(first);
	const path = hasHost ? image : `docker.io/${rest.length > 0 ? '' : 'library/'}${image}`;
	return /@|:[^/]*$/.test(path) ? path : `${path}:latest`;
};
