const IMAGE_KEY =
	/^(?:[\w.-]*[_.-])?image(?:[_-]?(?:name|uri|ref|pull))?$|^[a-z]\w*Image(?:Name|Uri|Ref)?$|^(?:baseimage|dockerpull)$/i;
/** Booleans, identifiers of images, pictures, and units of Podman. */
const NO_IMAGE = /^(?:true|false|sha256:.*|)$|\.(?:png|jpe?g|gif|svg|webp|ico|avif|image|build)$/i;
/** The image in a Terraform resource. Containers name the resource instead of the image. */
const TERRAFORM = /\bresource\s+"docker_image"\s+"[^"\n]*"\s*\{[^{}]{0,500}?\bname\s*=\s*"([^"\s]+)"/g;
/** Each level needs a call. */
const DEPTH_MAX = 500;
/** Maximum number of characters that all aliases together repeat. A short line can repeat a long list. */
const ALIASES_MAX = 1_000_000;
/** The keys of every Kubernetes manifest, and the key of every compose file. */
const MANIFEST_KEYS = [/(?:^|[\s{,])["']?apiVersion["']?\s*:/, /(?:^|[\s{,])["']?kind["']?\s*:/];
const SERVICES_KEY = /^services:$/m;
const KEY = /^(?:"([^"]+)"|'([^']+)'|([\w./-]+))\s*(?::(?=\s|$)|=)\s*(.*)$/;

/** Reads one JSON text, or one in each line. @type {Portal.Read} */
export const readJson = (text, found) => {
	if (!/^\s*[{[]/.test(text)) return;
	for (const texts of [[text], text.trim().split('\n')]) {
		try {
			for (const node of texts.map((one) => nodeOf(JSON.parse(one)))) collect(node, found);
			return;
		} catch {
			// The text is in another form.
		}
	}
};

/** Reads YAML, pieces of JSON, and settings of the form `image = "…"`. @type {Portal.Read} */
export const readYaml = (text, found) => {
	for (const [, name = ''] of text.matchAll(TERRAFORM)) found.add(name);
	for (const node of documentsOf(text)) collect(node, found);
	// In a manifest without an image, no other word is an image name.
	return SERVICES_KEY.test(text) || MANIFEST_KEYS.every((key) => key.test(text));
};

/** A value as a list of its members, which have an empty key in a list. @param {unknown} value @returns {Portal.Node} */
const nodeOf = (value) =>
	Array.isArray(value)
		? value.map((item) => ['', nodeOf(item)])
		: value && typeof value === 'object'
			? Object.entries(value).map(([key, item]) => [key, nodeOf(item)])
			: `${value ?? ''}`;

/**
 * Reads YAML, also in pieces: only the indentation matters. A piece of JSON in several lines reads the same way.
 *
 * @param {string} text
 */
const documentsOf = (text) => {
	/** @type {Portal.Node[]} */
	const documents = [];
	/** @type {Map<string, string>} */
	const anchors = new Map();
	/** @type {{ indent: number, node: Portal.Members, isItem?: boolean }[]} */
	let open = [];
	let textIndent = Number.POSITIVE_INFINITY;
	/** The member whose value is the text in the following lines. @type {Portal.Members[number] | undefined} */
	let textMember;
	/** @type {Portal.Members} */
	let list = [];
	let left = ALIASES_MAX;
	const aliasOf = (/** @type {string} */ name) => {
		const text = anchors.get(name) ?? '';
		left -= text.length;
		return left < 0 ? '' : text;
	};
	const start = () => {
		/** @type {Portal.Members} */
		const node = [];
		documents.push(node);
		open = [{ indent: -1, node }];
	};
	const closeTo = (/** @type {number} */ indent, isItem = false) => {
		while (open.length > 1 && !isParent(open.at(-1), indent, isItem)) open.pop();
		return open.at(-1)?.node ?? [];
	};
	start();
	for (const line of text.split('\n')) {
		let rest = line.replace(/(?:^|\s)#[^"']*$|\s#\s*\{"(?:\$|<>).*|^\s*\/\/.*/, '').replace(/\s+$/, '');
		if (/^(?:---|\.\.\.)/.test(rest)) start();
		let indent = rest.search(/\S/);
		if (indent > textIndent && textMember) textMember[1] = `${textMember[1]} ${unquoted(rest.trim())}`.trim();
		if (indent < 0 || indent > textIndent) continue;
		textIndent = Number.POSITIVE_INFINITY;
		rest = rest.trimStart();
		if (/^[}\]]+,?$/.test(rest)) continue;
		for (
			let dash = /^(?:- +|-$|\{$)/.exec(rest);
			dash && open.length < DEPTH_MAX;
			dash = /^(?:- +|-$|\{$)/.exec(rest)
		) {
			/** @type {Portal.Members} */
			const node = [];
			list = closeTo(indent, true);
			list.push(['', node]);
			open.push({ indent, node, isItem: true });
			rest = rest.slice(dash[0].length);
			indent += dash[0].length;
		}
		const [, a, b, c, written = rest] = KEY.exec(rest) ?? [];
		const key = a ?? b ?? c ?? '';
		const [, anchor, value = ''] = /^(?:&(\S+)\s*)?(?:!\S+\s+)?(.*?),?$/.exec(written) ?? [];
		if (!key && !value) continue;
		const parent = closeTo(indent);
		if (/^[|>][+-]?\d*$/.test(value)) {
			textIndent = indent;
			// The text of any other key may be long, and reading it costs time.
			textMember = isImageKey(key) ? [key, ''] : undefined;
			if (textMember) parent.push(textMember);
		} else if (key && (value === '' || value === '{' || value === '[')) {
			/** @type {Portal.Members} */
			const node = [];
			parent.push([key, node]);
			if (open.length < DEPTH_MAX) open.push({ indent, node });
		} else {
			const scalar = value.startsWith('*') ? aliasOf(value.slice(1)) : value;
			if (anchor) anchors.set(anchor, scalar);
			if (!key && list.at(-1)?.[1] === open.at(-1)?.node) {
				// The item is a scalar itself.
				list.pop();
				open.pop();
			}
			const holder = open.at(-1)?.node === parent ? parent : list;
			holder.push([key, /^(?:\{(?!\{).*\}|\[.*\])$/.test(scalar) ? flowOf(scalar) : unquoted(scalar)]);
		}
	}
	return documents;
};

/** @param {{ indent: number, isItem?: boolean } | undefined} frame @param {number} indent @param {boolean} isItem */
const isParent = (frame, indent, isItem) =>
	!frame || frame.indent < indent || (isItem && frame.indent === indent && !frame.isItem);

/** Reads `{ a: b, c: [d] }`. @param {string} text @returns {Portal.Node} */
const flowOf = (text) => {
	const tokens = text.match(/"[^"]*"|'[^']*'|[{}[\],]|(?:[^\s{}[\],:"']|:(?=\S))+|:/g) ?? [];
	let at = 0;
	/** @param {number} depth @returns {Portal.Node} */
	const read = (depth) => {
		const token = tokens[at++] ?? '';
		if (depth > DEPTH_MAX || (token !== '{' && token !== '[')) return unquoted(token);
		/** @type {Portal.Members} */
		const members = [];
		for (let next = tokens[at]; next && !/^[}\]]$/.test(next); next = tokens[at]) {
			if (next === ',') at++;
			else if (tokens[at + 1] === ':') {
				at += 2;
				members.push([unquoted(next), read(depth + 1)]);
			} else members.push(['', read(depth + 1)]);
		}
		at++;
		return members;
	};
	return read(0);
};

/** @param {string} text */
const unquoted = (text) => text.replace(/^(["'])(.*)\1$/, '$2');

/** @param {Portal.Node} node @param {Portal.Found} found */
const collect = (node, found) => {
	if (typeof node === 'string') return;
	const texts = textsOf(node);
	const version = versionOf(texts);
	if (texts.platform) found.platform(texts.platform);
	const same = ['RepoTags', 'RepoDigests', 'names'].flatMap((key) => itemsOf(memberOf(node, key)));
	const [name] = [...same.filter((one) => !one.includes('@')), ...same];
	if (name) {
		found.add(name);
		return;
	}
	addRepository(node, texts, found);
	if (texts.url?.startsWith('oci:')) found.add(texts.url + versionOf(textsOf(memberOf(node, 'ref'))));
	// An image volume of a compose file.
	if (texts.type === 'image' && texts.source && texts.target) found.add(texts.source);
	addChart(texts, found);
	const hasSpec = memberOf(node, 'spec') !== undefined;
	for (const [key, value] of node) {
		if ((key === 'status' && hasSpec) || /^(?:metadata|labels|annotations)$/.test(key)) continue;
		if (typeof value !== 'string') {
			const inner = textsOf(value);
			// Image volumes of Kubernetes have the full name in `reference`.
			const name = inner.name ?? inner.reference;
			if (IMAGE_KEY.test(key) && name && !inner.repository) found.add(name + versionOf(inner));
			if (/^images$/i.test(key)) addList(value, found);
			// GitLab's services, which other programs call their own ones.
			if (key === 'services')
				addList(
					value.filter(([, item]) => /[:/]/.test(textsOf(item).name ?? `${item}`)),
					found,
				);
			// In Google Cloud Build, the name of a step is its image.
			if (key === 'steps') addList(value.filter(isNamedAfterImage), found);
			collect(value, found);
		} else if (key === 'uses') {
			if (value.startsWith('docker:')) found.add(value);
		} else if (key === 'docker') {
			// Workflows in WDL.
			if (/[:/]/.test(value)) found.add(value);
		} else if (isImageKey(key) && !NO_IMAGE.test(value)) {
			const isBare = !/[@{$<]|:[^/]*$/.test(value);
			const registry = texts.registry && !value.startsWith(texts.registry) ? `${texts.registry}/` : '';
			found.add(registry + value + (isBare ? version : ''), { platform: texts.platform });
		}
	}
};

/** Constants of scripts are read where the script uses them. @param {string} key */
const isImageKey = (key) =>
	(IMAGE_KEY.test(key) && /[a-z]/.test(key) && !/^(?:vm|boot|disk|cover|hero|background)/.test(key)) ||
	/^(?:container|singularity)$/.test(key);

/** @param {Portal.Members[number]} member */
const isNamedAfterImage = ([, step]) => {
	const { name = '', image, uses, run } = textsOf(step);
	return /^[\w-]+(?:\.[\w-]+)+\/\S+$/.test(name) && !image && !uses && !run;
};

/** Values of Helm, lines of `docker images --format json`, and dependencies of charts. @type {Portal.AddRepository} */
const addRepository = (node, { repository, registry, name, version, ...texts }, found) => {
	if (!repository || /^(?:https?|git|ssh|file):|^git@|\.git$/.test(repository)) return;
	const host = registry && !repository.startsWith(`${registry}/`) ? `${registry}/` : '';
	const isChart = repository.startsWith('oci:') && name;
	const given = isChart ? version && `:${version}` : versionOf(texts);
	const isOpen = !given && (memberOf(node, 'tag') !== undefined || memberOf(node, 'digest') !== undefined);
	found.add(host + repository + (isChart ? `/${name}` : '') + (given ?? ''), { isOpen });
};

/** Charts of Rancher and of Argo CD. @type {Portal.AddChart} */
const addChart = ({ chart, version, repourl, targetrevision }, found) => {
	if (chart?.startsWith('oci:')) found.add(chart + (version ? `:${version}` : ''));
	else if (chart && targetrevision && repourl && !/^https?:/.test(repourl))
		found.add(`${repourl}/${chart}:${targetrevision}`);
};

/** @param {Record<string, string | undefined>} texts */
const versionOf = ({ tag, imagetag, image_tag, newtag, digest }) => {
	const named = tag ?? imagetag ?? image_tag ?? newtag;
	return (named ? `:${named}` : '') + (digest && !/none/.test(digest) ? `@${digest.replace(/^@/, '')}` : '');
};

/** Lists of names, and of objects as Kustomize and GitLab have them. @type {Portal.AddList} */
const addList = (list, found) => {
	for (const [key, value] of list) {
		if (key) continue;
		if (typeof value === 'string') found.add(value);
		else {
			const { newname, name = '', image, repository, ...texts } = textsOf(value);
			if (!image && !repository) found.add((newname ?? name) + versionOf(texts));
		}
	}
};

/** @param {Portal.Members} node @param {string} name */
const memberOf = (node, name) => node.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];

/** The members that are scalars, by their keys in lower case. @param {Portal.Node | undefined} node */
const textsOf = (node) =>
	Object.fromEntries(
		typeof node === 'object'
			? node.flatMap(([key, value]) =>
					typeof value === 'string' && value ? [[key.toLowerCase(), value]] : [],
				)
			: [],
	);

/** The scalars of a list. @param {Portal.Node | undefined} node */
const itemsOf = (node) =>
	typeof node === 'object'
		? node.flatMap(([key, value]) => (typeof value === 'string' && !key ? [value] : []))
		: [];
