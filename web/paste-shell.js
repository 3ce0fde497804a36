import { toName } from './paste.js';

/** Transports of registries, by which skopeo, Helm, Apptainer, and others name images. */
const SCHEME =
	/^(?:docker|oci|oras|docker-image|container|registry):\/\/|^(?:docker-daemon|containers-storage):(?!\/)/;
/** A prefix of the name of an image that a machine boots. */
const OSTREE = /^ostree-(?:unverified-|remote-\w+:)?(?:image(?:-signed)?:)?(?:registry:|docker:\/\/)/;
const IMAGE_FLAG = /^--(?:[a-z-]+-)?image$/;
/** Maximum number of programs in a command whose arguments are read. Each reads all words after its name. */
const PROGRAMS_MAX = 20;
/** Options without a value, of all programs. */
const SWITCH =
	/^--(?:rm|rmi|detach|interactive|tty|init|privileged|read-only|publish-all|no-[a-z-]+|oom-kill-disable|sig-proxy|disable-content-trust|quiet|help|replace|tls-verify|env-host|http-proxy|passwd|rootfs|all|all-[a-z]+|net-host|plain-http|local|skip-[a-z-]+|insecure|debug|verbose|recursive|keep-[a-z-]+|ignore-unfixed|force|push|load|now|digests|full-ref|list|tls|raw|digest-tags|referrers|include-external|fast)$/;
/** Letters of options without a value; `run` and `create` have other ones. */
const LETTERS = { run: 'd i P q T t', other: 'a D d f i q r T t v y' };
const NOUN =
	/^(?:containers?|images?|i|c|manifest|buildx|imagetools|model|plugin|service|scout|trust|artifact|repo|tag|index|blob|cache|load|builder|node|edit)$/;

/** @type {Record<string, string>} */
const ENGINE = {
	...{
		run: 'first',
		create: 'first',
		push: 'first',
		tag: 'first',
		history: 'first',
		from: 'first',
		sbom: 'first',
	},
	...{
		pull: 'all',
		save: 'all',
		rmi: 'all',
		inspect: 'all',
		install: 'first',
		update: 'first',
		build: 'build',
	},
	...{
		b: 'build',
		bud: 'build',
		cves: 'first',
		quickview: 'first',
		recommendations: 'first',
		search: 'maybe',
	},
};
/** @type {Record<string, string>} */
const REGISTRY = Object.fromEntries(
	[
		'attach config copy cp delete digest discover export fetch fetch-config flatten get get-file head inspect list-tags',
		'ls manifest mod mutate pull resolve show-tags sync tag tags validate',
	]
		.flatMap((line) => line.split(' '))
		.map((command) => [command, 'first']),
);
/** @type {Record<string, string>} */
const SCANNER = { '': 'first', image: 'first', i: 'first', test: 'first', scan: 'first' };

/**
 * The commands of each program, and the words that are images: the `first` after the options, `all`, the `second`, or
 * all but the first (`rest`). A `build` has names for its result.
 *
 * @type {Record<string, Record<string, string>>}
 */
const PROGRAMS = {
	docker: ENGINE,
	podman: ENGINE,
	nerdctl: ENGINE,
	finch: ENGINE,
	container: ENGINE,
	buildah: ENGINE,
	img: ENGINE,
	udocker: ENGINE,
	'ch-image': ENGINE,
	shifterimg: ENGINE,
	'podman-hpc': ENGINE,
	ctr: {
		run: 'first',
		create: 'first',
		pull: 'first',
		push: 'first',
		mount: 'first',
		unpack: 'first',
		tag: 'first',
		export: 'rest',
		rm: 'all',
		check: 'first',
	},
	crictl: { pull: 'first', inspecti: 'all', rmi: 'all' },
	crane: { ...REGISTRY, push: 'second' },
	gcrane: { ...REGISTRY, push: 'second' },
	regctl: REGISTRY,
	regsync: {},
	oras: { ...REGISTRY, push: 'first' },
	skopeo: REGISTRY,
	kind: { 'docker-image': 'all' },
	k3d: { import: 'all' },
	minikube: { load: 'all', pull: 'all', add: 'all' },
	kubectl: { set: 'pairs' },
	kustomize: { set: 'pairs' },
	bootc: { switch: 'first' },
	oc: { set: 'pairs', 'new-app': 'first', info: 'first' },
	dockerproxy: { save: 'all', ls: 'first', cat: 'first' },
	cosign: {
		verify: 'first',
		tree: 'first',
		triangulate: 'first',
		download: 'first',
		sign: 'first',
		'verify-attestation': 'first',
	},
	trivy: SCANNER,
	grype: SCANNER,
	syft: SCANNER,
	dive: SCANNER,
	dockle: SCANNER,
};

/** Programs whose commands name images by a scheme only, or by names of their own. */
const OTHERS =
	/^(?:helm|apptainer|singularity|enroot|srun|docker-compose|k3s|microk8s|git|curl|wget|npm|pip|skaffold|incus|lxc)$/;

/** @param {string} word */
export const isProgram = (word) => PROGRAMS[word] !== undefined || OTHERS.test(word);

/** Words of a shell, with quoted parts and `&` inside; or what ends a command. */
const TOKEN = /(?:"[^"]*"|(?<![\w)])'[^']*'|[^\s"'`;|&()]|["']|&(?=[^\s&]))+|&&|\|\||[;|&`()]/g;

/** Splits a line into commands of words without quotes. @param {string} line */
export const commandsOf = (line) => {
	/** @type {string[][]} */
	const commands = [[]];
	for (const [token] of line.matchAll(TOKEN)) {
		const words = commands.at(-1) ?? [];
		if (/^(?:&&|\|\||[;|&`()])$/.test(token)) commands.push([]);
		else if (token.startsWith('#') && words.length > 0) break;
		else words.push(token.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'));
	}
	return commands.map(withoutRedirections);
};

/** @param {string[]} words */
const withoutRedirections = (words) =>
	words.filter((word, at) => !/^\d?>{1,2}/.test(word) && !/^\d?>{1,2}$/.test(words[at - 1] ?? ''));

/** Adds the images of a command. Returns whether it is one. @type {Portal.ReadCommand} */
export const readCommand = (words, found) => {
	const valuesOf = (/** @type {RegExp} */ option) =>
		words.flatMap((word, at) => {
			const [name = '', ...value] = word.split('=');
			if (!option.test(name)) return [];
			return value.length > 0 ? [value.join('=')] : [words[at + 1] ?? ''];
		});
	for (const value of valuesOf(/^--platform$|^-p$/)) found.platform(value);
	for (const value of valuesOf(/^--(?:override-)?arch$/)) found.platform(`linux/${value}`);

	const named = words.flatMap((written) => {
		const word = written.replace(OSTREE, 'docker://');
		return (
			/(?:^|=)((?:docker|oci|oras|docker-image|container):\/\/.+)/.exec(word)?.[1] ??
			(SCHEME.test(word) ? word : [])
		);
	});
	if (named.length > 0) {
		if (words.includes('helm') && words.includes('push')) return false;
		const [version = ''] = valuesOf(/^--version$/);
		const isSource = words.some((word) => /^(?:copy|cp|sync)$/.test(word));
		const images = isSource ? named.slice(0, 1) : named;
		const isRange = version !== '' && !/^v?\d[\w.+-]*$/.test(version);
		for (const image of images)
			found.add(image + (version && !isRange ? `:${version.replace('+', '_')}` : ''), { isOpen: isRange });
		return true;
	}
	if (readSettings(valuesOf(/^--set(?:-string)?$/), found)) return true;
	const flagged = valuesOf(IMAGE_FLAG);
	for (const image of flagged) found.add(image);
	if (flagged.length > 0) return true;

	let programs = 0;
	return words.some((word, at) => {
		const commands =
			PROGRAMS[
				word
					.replace(/^.*[\\/!]/, '')
					.replace(/\.exe$/i, '')
					.toLowerCase()
			];
		if (commands !== undefined) programs++;
		return (
			commands !== undefined &&
			programs <= PROGRAMS_MAX &&
			readArguments(commands, words.slice(at + 1), found)
		);
	});
};

/** Reads settings of Helm: `image.repository=nginx,image.tag=1.27`. @type {Portal.ReadCommand} */
const readSettings = (lists, found) => {
	const pairs = lists.flatMap((list) => list.split(','));
	const values = Object.fromEntries(pairs.map((pair) => [pair.split('=')[0], pair.replace(/^[^=]*=/, '')]));
	let isRead = false;
	for (const [key, value] of Object.entries(values)) {
		const [, start, name] = /^(.*\.|)(repository|image)$/.exec(key) ?? [];
		if (!name || !value) continue;
		const { [`${start}registry`]: registry, [`${start}tag`]: tag, [`${start}digest`]: digest } = values;
		const version = (tag ? `:${tag}` : '') + (digest ? `@${digest}` : '');
		const isOpen = name === 'repository' && !version;
		isRead = found.add((registry ? `${registry}/` : '') + value + version, { isOpen }) || isRead;
	}
	return isRead;
};

/** @type {Portal.ReadArguments} */
const readArguments = (commands, words, found) => {
	let at = 0;
	let isContainer = false;
	for (; at < words.length; at++) {
		const word = words[at] ?? '';
		const next = words[at + 1] ?? '';
		// `regctl tag ls`, but `docker tag`.
		const isNoun = NOUN.test(word) && (!commands[word] || commands[next]);
		if (word.startsWith('-')) {
			// An option may have a value before the name of the command.
			if (!/=/.test(word) && !/^-/.test(next) && !commands[next] && !NOUN.test(next)) at++;
		} else if (isNoun) isContainer = /^c/.test(word);
		else break;
	}
	const verb = (words[at] ?? '').toLowerCase();
	const how = commands[verb] ?? (at < words.length ? commands[''] : undefined);
	if (!how || (isContainer && verb === 'inspect')) return false;
	const rest = words.slice(commands[verb] ? at + 1 : at);
	const before = found.count();
	if (how === 'pairs') {
		if (rest[0] !== 'image') return false;
		for (const word of rest) if (/^[\w*./-]+=|:/.test(word)) found.add(word.replace(/^[^=]*=/, ''));
	} else if (how === 'build') {
		for (const [index, word] of rest.entries())
			if (/^(?:-t|--tag)$/.test(word)) found.maybe(rest[index + 1] ?? '');
			else if (/^--tag=/.test(word)) found.maybe(word.slice(6));
	} else {
		const skipped = how === 'second' || how === 'rest' ? 1 : 0;
		const names = operandsOf(rest, verb === 'run' || verb === 'create')
			.slice(skipped)
			.filter((word) => !/\.(?:tar|tgz|gz|sif|ya?ml|json)$/.test(word));
		const takesAll = how === 'all' || how === 'rest';
		// In a sentence, other words follow the images.
		const end = takesAll ? names.findIndex((word) => found.isOfSentence(word)) : -1;
		for (const image of end < 0 ? names : names.slice(0, end)) {
			if (how === 'maybe' || found.isOfSentence(image)) found.maybe(image);
			else if (found.add(image) && !takesAll) break;
		}
	}
	return found.count() > before;
};

/** The words that are neither options nor their values. @param {string[]} words @param {boolean} isRun */
const operandsOf = (words, isRun) => {
	const operands = [];
	const letters = isRun ? LETTERS.run : LETTERS.other;
	for (let at = 0; at < words.length; at++) {
		const word = words[at] ?? '';
		if (word === '--') return [...operands, ...words.slice(at + 1)];
		// Documentation writes `[OPTIONS]`. Addresses of web pages are read later.
		if (/^\[.*\]\W*$|^https?:|^hub\.docker\.com\//i.test(word)) continue;
		if (!word.startsWith('-')) {
			operands.push(word);
			// Its command follows.
			if (isRun && toName(word)) return operands;
		} else if (word.startsWith('--')) {
			// An image is the last word rather than the value of an unknown option.
			if (!word.includes('=') && !SWITCH.test(word) && (words[at + 2] || operands.length > 0)) at++;
		} else {
			const valued = [...word.slice(1)].findIndex((letter) => !letters.includes(letter));
			if (valued === word.length - 2 && (words[at + 2] || operands.length > 0)) at++;
		}
	}
	return operands;
};
