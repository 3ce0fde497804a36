/** Matches the address of a web page, which may lack its scheme if its host is known. */
export const ADDRESS =
	/(?:\bhttps?:\/\/|(?<![\w./@-])(?:hub\.docker\.com|github\.com|gitlab\.com|quay\.io\/repository|gallery\.ecr\.aws|catalog\.ngc\.nvidia\.com)\/)[^\s"'`<>()]+/gi;

/** Hosts whose paths name repositories, even without a tag. */
const REGISTRY =
	/^(?:.+\.)?(?:docker\.io|ghcr\.io|quay\.io|gcr\.io|pkg\.dev|nvcr\.io|lscr\.io|cgr\.dev|dhi\.io|azurecr\.io|amazonaws\.com|public\.ecr\.aws|elastic\.co)$|^(?:registry|docker|cr|mcr|harbor|container)[.-]|:\d+$/;
const FILE = /\.(?:ya?ml|json|html?|php|md|txt|sh|git|zip|tar|t?gz|iso|whl|deb|rpm)$/;
/** Addresses that are web pages, not repositories. */
const ONLY_PAGES =
	/^(?:registry\.(?:terraform\.io|npmjs\.org)|[^/]+\/harbor\/(?:projects|sign-in)|www\.|console\.|catalog\.|gallery\.|docs\.|hub\.docker|store\.docker|git(?:hub|lab)\.com|images\.chainguard|artifacthub|mcr\.microsoft\.com\/(?:[a-z-]+\/)?catalog|quay\.io\/(?:organization|user|search|repository|plans|tutorial|api)\b)/;

/**
 * Pages that name one image: the host and the path of the page, and the name.
 *
 * @type {[address: RegExp, name: string][]}
 */
const PAGES = [
	[/^[^/]+\/dl\/(.+?)\.tar(?:\.sha256|\.meta4)?$/, '$1'],
	[/^(?:registry\.)?(?:hub|store)\.docker\.com\/_\/([^/]+)/, '$1'],
	[/^(?:registry\.)?hub\.docker\.com\/r\/([^/]+\/[^/]+)/, '$1'],
	[/^hub\.docker\.com\/layers\/(?:.+\/)?([^/]+\/[^/]+)\/([^/]+)\/images/, '$1:$2'],
	[/^hub\.docker\.com\/repository\/docker\/([^/]+\/[^/]+)/, '$1'],
	[
		/^hub\.docker\.com\/v2\/(?:repositories|namespaces)\/([^/]+)\/(?:repositories\/)?([^/]+)(?:\/tags\/([^/]+))?/,
		'$1/$2:$3',
	],
	[/^hub\.docker\.com\/hardened-images\/catalog\/dhi\/([^/]+)/, 'dhi.io/$1'],
	[
		/^github\.com\/(?:orgs\/|users\/)?([^/]+)\/(?:[^/]+\/)*?container\/(?:package\/)?(.+?)(?:\/\d+|\/versions)*$/,
		'ghcr.io/$1/$2',
	],
	[/^gitlab\.com\/(.+?)\/(?:-\/)?container_registry(?:\/|$)/, 'registry.gitlab.com/$1'],
	[/^quay\.io\/repository\/([^/]+\/.+?)(?:\/(?:manifest|tags?|info)(?:\/([^/]+))?)?$/, 'quay.io/$1:$2'],
	[
		/^catalog\.ngc\.nvidia\.com\/orgs\/([^/]+)\/(?:teams\/([^/]+)\/)?(?:-\/)?containers\/([^/]+)/,
		'nvcr.io/$1/$2/$3',
	],
	[
		/^(?:catalog\.)?ngc\.nvidia\.com\/(?:catalog\/)?containers\/([\w-]+):(?:([\w-]+):)?([\w.-]+)/,
		'nvcr.io/$1/$2/$3',
	],
	[/^gallery\.ecr\.aws\/([^/]+\/.+)/, 'public.ecr.aws/$1'],
	[
		/^([\w-]+)\.console\.aws\.amazon\.com\/ecr\/repositories\/private\/(\d+)\/(.+?)(?:\/_\/.*)?$/,
		'$2.dkr.ecr.$1.amazonaws.com/$3',
	],
	[
		/^mcr\.microsoft\.com\/(?:[a-z]+-[a-z]+\/)?(?:artifact\/mar|product)\/(.+?)(?:\/(?:about|tags?)(?:\/([^/]+))?)?$/,
		'mcr.microsoft.com/$1:$2',
	],
	[
		/^console\.cloud\.google\.com\/artifacts\/docker\/([^/]+)\/([^/]+)\/([^/]+)\/(.+)/,
		'$2-docker.pkg.dev/$1/$3/$4',
	],
	[
		/^console\.cloud\.google\.com\/gcr\/images\/([^/]+)\/(?:(us|eu|asia)|global)\/(.+?)(?:\/details.*)?$/i,
		'$2.gcr.io/$1/$3',
	],
	[/^images\.chainguard\.dev\/directory\/image\/([^/]+)/, 'cgr.dev/chainguard/$1'],
	[/^docs\.linuxserver\.io\/images\/docker-([^/]+)/, 'lscr.io/linuxserver/$1'],
	[/^www\.docker\.elastic\.co\/r\/(.+)/, 'docker.elastic.co/$1'],
	[/^container-registry\.oracle\.com\/ords\/ocr\/ba\/(.+)/, 'container-registry.oracle.com/$1'],
	[
		/^([^/]+\.jfrog\.io)\/ui\/(?:native|repos\/tree\/\w+)\/(.+\/.+?)\/([^/]+)(?:\/manifest\.json)?$/,
		'$1/$2:$3',
	],
	[/^([^/]+)\/v2\/(.+?)\/(?:blobs|tags|referrers|manifests(?:\/([^/]+))?)(?:\/|$)/, '$1/$2:$3'],
	// Gitea and Forgejo.
	[/^([^/]+)\/([^/]+)\/-\/packages\/container\/(.+)\/([^/]+)$/, '$1/$2/$3:$4'],
];

/**
 * Pages that may belong to an image: of a project that may publish it, or of a registry whose host is unknown.
 *
 * @type {[address: RegExp, names: string[]][]}
 */
const PROJECTS = [
	[/^github\.com\/([^/]+\/[^/]+?)(?:\.git)?(?:\/|$)/, ['ghcr.io/$1']],
	[/^gitlab\.com\/([^/]+(?:\/(?!-\/)[^/]+)+)/, ['registry.gitlab.com/$1']],
	[
		/^(\w+\.([^/]+))\/(.+?)\/(?:-\/)?container_registry(?:\/|$)/,
		['registry.$1/$3', 'registry.$2/$3', '$1:5050/$3'],
	],
	[
		/^catalog\.redhat\.com\/(?:[a-z]+\/)?software\/containers\/([^/]+\/[^/]+)/,
		['registry.access.redhat.com/$1', 'registry.redhat.io/$1'],
	],
];

/** @type {Portal.ReadAddress} */
export const readAddress = (text) => {
	const address = text.replace(/[.,;:!?\]}*]+$/, '').replace(/^(?!https?:)/i, 'https://');
	if (!URL.canParse(address)) return {};
	const { host, pathname, searchParams } = new URL(address);
	const asked = [
		...searchParams.getAll('myimage'),
		...(pathname === '/' ? [...searchParams.getAll('image'), ...searchParams.getAll('repo')] : []),
	];
	if (asked.length > 0) return { names: asked, platform: searchParams.get('platform') ?? '' };

	const path = decoded(pathname)
		.replace(/;[^/]*/g, '')
		.replace(/\/+$/, '');
	const [digest] = /sha256:[0-9a-f]{64}/.exec(path) ?? [];
	const page = (host + path).replace(/[/@]sha256:[0-9a-f]{64}/, '');
	const tag = searchParams.get('tag') ?? searchParams.get('version');
	const versioned = (/** @type {string} */ name) =>
		digest
			? `${name.replace(/:[^/]*$/, '')}@${digest}`
			: tag && !/:[^/]+$/.test(name)
				? `${name}:${tag}`
				: name;

	for (const [pattern, template] of PAGES) {
		const match = pattern.exec(page);
		if (match) return { names: [versioned(filled(template, match))] };
	}
	for (const [pattern, templates] of PROJECTS) {
		const match = pattern.exec(page);
		if (match) return { candidates: templates.map((template) => filled(template, match)) };
	}
	if (ONLY_PAGES.test(page) || !path || FILE.test(path)) return {};
	const name = versioned(page);
	return REGISTRY.test(host) || name !== page || /:[\w.-]+$/.test(path)
		? { names: [name] }
		: { candidates: [name] };
};

/** @param {string} template @param {RegExpExecArray} match */
const filled = (template, match) =>
	template
		.replace(/\$(\d)/g, (_, index) => match[index] ?? '')
		.replace(/\/+/g, '/')
		.replace(/^\.|:$/g, '');

/** @param {string} path */
const decoded = (path) => {
	try {
		return decodeURIComponent(path);
	} catch {
		return path;
	}
};
