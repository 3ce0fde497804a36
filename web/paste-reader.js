import { fullName, repositoryOf, toName } from './paste.js';
import { readJson, readYaml } from './paste-data.js';
import { commandsOf, readCommand } from './paste-shell.js';
import { ADDRESS, readAddress } from './paste-urls.js';
import { withValues } from './paste-variables.js';
import { isOfSentence, readWords } from './paste-words.js';

const PLATFORM = /^(?:linux|windows|darwin|freebsd|wasip1)\/\w+(?:\/\w+)?$/;
/** A row of `docker images` without its header. */
const ROW = /^(\S+)\s+(\S+)\s+(?:sha256:)?[0-9a-f]{12,13}\s.*\d\s?[kMGT]?i?B\b/;
/** An address of a DockerProxy service without its scheme. */
const OWN_ADDRESS =
	/(?<![\w/:.@-])[\w.-]+(?::\d+)?\/(?:dl|file|api\/v1\/image)?\?(?:[^\s"']{0,200}&)?(?:my)?image=/g;
/** Attributes of Terraform: `var.image`, `docker_image.web.image_id`. */
const ATTRIBUTE = /^(?:var|local|data|module|each|[a-z\d]+_\w+)\.\w+(?:\.\w+)*$/;
/** The path of a short link. */
const PATH = /^\/(?=[^\s:]+:[\w.-]+$)/;
/** An address of this service without its host. */
const QUERY = /^\/?(?:dl)?\?(?=(?:my)?image=\S+$)|^(?=(?:my)?image=\S+&\S+$)|^(?=myimage=\S+$)/;
/** An architecture alone means Linux, as in engines. */
const ARCHITECTURE = /^(?:amd64|arm64|arm|386|ppc64le|s390x|riscv64)(?:\/v\d)?$/;
const SHORT_ID = /^(?:sha256:)?[0-9a-f]{12,64}…?$/;
/** Placeholders that a reader of documentation replaces: `<tag>`, `$TAG`, `{{ tag }}`. */
const OPEN = /[<${%*]|\.\.\.|…/;
/** Longer words are neither names nor addresses, and cost time. */
const LONG_WORD = /(?<!\S)\S{2000,}/g;
/** These mean nothing, and cost time. */
const LONG_SPACE = /(?<![^\S\n])[^\S\n]{500,}/g;
const BLANK_LINES = /\n(?:[^\S\n]*\n)+/g;

/** @type {Portal.ReadPaste} */
export const readPaste = (text, host) => readAll(text, host).result();

/** The command line saves each image for its own platform. @type {Portal.ReadPlatforms} */
export const readPlatforms = (text, host) => readAll(text, host).platforms();

/** The command line refuses a list if it cannot save all of its images. @type {Portal.ReadUnknown} */
export const readUnknown = (text, host) => readAll(text, host).unknown();

/** @param {string} text @param {string} host */
const readAll = (text, host) => {
	const whole = cleaned(text)
		.trim()
		.replace(QUERY, `https://${host}/?`)
		.replace(PATH, '')
		.replace(OWN_ADDRESS, 'https://$&');
	const full = withValues(whole).replace(LONG_SPACE, ' ').replace(BLANK_LINES, '\n\n');
	const found = createFound(host);
	readJson(full, found);
	const short = full.replace(LONG_WORD, ' ');
	const readers = [
		...[readFile, readTable, readYaml, readUpdates, readCommands, readMessage, readAddresses, readWords],
	];
	readers.find((read) => found.count() > 0 || read(short, found));
	return found;
};

/** Replaces what word processors, terminals, and web pages add. @param {string} text */
const cleaned = (text) => {
	const lines = text
		.replace(/\r\n?|[\u2028\u2029]/g, '\n')
		// Chinese and Japanese keyboards type full-width letters, digits, and colons.
		.replace(/[、。，；،؛؟]|(?<![\u0021-\u007e\uff10-\uff5a])：/g, (mark) => (mark === '：' ? ': ' : ', '))
		.replace(/[\uff01-\uff5e]/g, (wide) => String.fromCharCode(wide.charCodeAt(0) - 0xfee0))
		// biome-ignore lint/suspicious/noControlCharactersInRegex: Terminals color their output by this character.
		.replace(/\x1b\[[\d;]*m|[\u200b-\u200f\u2060\ufeff]/g, '')
		.replace(/[\u00a0\u2000-\u200a\u202f\u3000]/g, ' ')
		.replace(/[\u2018-\u201b\u2032]/g, "'")
		.replace(/[\u201c-\u201f\u2033«»]/g, '"')
		// Word processors make one dash of two.
		.replace(/(?<=^|\s)[\u2013\u2014](?=(?!rm\b)\w{1,2}(?:\s|$))/gm, '-')
		.replace(/(?<=^|\s)[\u2013\u2014](?=\w)/gm, '--')
		.replace(/<\/?(?:a|b|br|code|div|em|i|kbd|li|p|pre|span|strong|td|tr|ul)(?:\s[^<>]*)?>/gi, ' ')
		.replace(/^[^\S\n]*```.*$/gm, '')
		// Quotes of mails, and the prompts of PowerShell.
		.replace(/^[^\S\n]*>+\s+/gm, '')
		// A shell ends a command at such a comment, but pasted commands can contain some.
		.replace(/(\\[ \t]*\n)(?:[ \t]*#.*\n)+/g, '$1')
		.replace(/(?:\s\\|\s\^|\s`|\\)[ \t]*\n\s*/g, ' ');
	const isDifference = /^\+/m.test(lines) && /^-/m.test(lines);
	const after = isDifference ? lines.replace(/^-.*$/gm, '').replace(/^\+/gm, ' ') : lines;
	return /[a-z]/.test(after) ? after : after.toLowerCase();
};

/** @type {Portal.CreateFound} */
const createFound = (host) => {
	/** @type {Map<string, string>} */
	const images = new Map();
	/** @type {Set<string>} */
	const open = new Set();
	/** @type {Map<string, string>} */
	const maybe = new Map();
	/** @type {Set<string>} */
	const platforms = new Set();
	/** @type {Map<string, Set<string>>} */
	const own = new Map();
	/** @type {Set<string>} */
	const unknown = new Set();
	let isDigest = false;

	/** @param {string} word */
	const plainOf = (word) =>
		word
			.replace(
				/^(?:docker|oci|oras|docker-image|container|registry|https?):\/\/|^(?:docker-daemon|containers-storage):/,
				'',
			)
			// Scanners write the source before a name, some without slashes: `registry:nginx:1.27`.
			.replace(/^(?:docker|registry|podman):(?=[a-z][^@\s]*[/:])/, '')
			.replace(/^<([^<>]*[:/][^<>]*)>$/, '$1')
			.replace(/^["'`([{<*]+(?![0-9a-f:]*\])|["'`.,;:!?)}\]*\\/]+$/g, '')
			.replace(/^([\w-]+(?:\.[\w-]+)+)#/, '$1/')
			.replace(new RegExp(`^${host.replace(/[.[\]]/g, '\\$&')}/`, 'i'), '');

	/** @type {Portal.Found} */
	const found = {
		add(word, { isOpen = false, platform = '' } = {}) {
			const plain = plainOf(word);
			const repository = toName(repositoryOf(plain.replace(/<>.*/, '')));
			const name = toName(plain);
			if (word.includes('<>')) unknown.add(word);
			if (!repository || SHORT_ID.test(plain) || ATTRIBUTE.test(plain)) return false;
			if (isOpen || OPEN.test(plain)) {
				if (!/<>.*\//.test(plain)) open.add(`${repository}:`);
				else return false;
			} else if (name) {
				const key = fullName(name);
				const first = images.get(key) ?? name;
				images.set(key, first);
				if (platform) own.set(first, (own.get(first) ?? new Set()).add(platform));
			} else return false;
			return true;
		},
		maybe(word) {
			const name = toName(plainOf(word).replace(/[:@]?<>.*/, ''));
			const key = fullName(name ?? '');
			if (name && !SHORT_ID.test(name) && !maybe.has(key)) maybe.set(key, name);
		},
		digestAlone() {
			isDigest = true;
		},
		platform(text) {
			const full = ARCHITECTURE.test(text) ? `linux/${text}` : text;
			const isPlatform = PLATFORM.test(full);
			if (isPlatform) platforms.add(full);
			return isPlatform;
		},
		nameOf(word) {
			const name = toName(plainOf(word));
			return name && /[a-z]/.test(repositoryOf(name)) && !ATTRIBUTE.test(name) ? name : undefined;
		},
		isOfSentence,
		unknown: () => [...unknown],
		platforms: () => new Map([...own].map(([name, several]) => [name, [...several]])),
		count: () => images.size + open.size + maybe.size,
		result() {
			const [platform, ...others] = platforms;
			const common = others[0] ? { platforms: [...platforms] } : platform ? { platform } : {};
			const names = [...images.values()];
			if (open.size > 0)
				return { images: [], candidates: [...names, ...open], problem: 'ambiguous', ...common };
			if (names.length > 0) return { images: names, candidates: [], ...common };
			if (maybe.size > 0)
				return { images: [], candidates: [...maybe.values()], problem: 'ambiguous', ...common };
			return { images: [], candidates: [], problem: isDigest ? 'digest' : 'unreadable' };
		},
	};
	return found;
};

/** Reads the images that a Dockerfile is built from. @type {Portal.Read} */
const readFile = (text, found) => {
	const stages = new Set(['scratch']);
	const isWhole = /^\s*FROM\s+(?:--platform=\S+\s+)?\S+(?:\s+AS\s+\S+)?\s*(?:#.*)?$/im.test(text);
	// In a part of a Dockerfile, a name without a registry and a tag may be a stage.
	if (!isWhole && !/^\s*(?:COPY|ADD|RUN)\s+\S*from=[^,\s]*[:/]/im.test(text)) return false;
	for (const line of text.split('\n')) {
		const [, instruction = '', rest = ''] = /^\s*(FROM|COPY|ADD|RUN)\s+(.*)/i.exec(line) ?? [];
		const words = rest.replace(/\s#.*/, '').split(/\s+/);
		const options = words.filter((word) => word.startsWith('--'));
		if (/^from$/i.test(instruction)) {
			const [platform = ''] = options.map((option) => option.replace('--platform=', ''));
			found.platform(platform);
			const [image = '', as = '', stage = ''] = words.filter((word) => !word.startsWith('--'));
			// Docker sets variables such as $BUILDPLATFORM itself.
			const own = OPEN.test(platform) ? {} : { platform };
			if (!stages.has(image.toLowerCase())) found.add(image, own);
			if (/^as$/i.test(as)) stages.add(stage.toLowerCase());
		} else {
			const sources = options.flatMap((option) => /(?:^--from=|[=,]from=)([^,\s]+)/.exec(option)?.[1] ?? []);
			for (const source of sources)
				if (!stages.has(source.toLowerCase()) && !/^\d+$/.test(source)) found.add(source);
		}
	}
	return true;
};

/** Columns of two words. */
const COLUMN = /(?:IMAGE|CONTAINER|POD) ID|(?:BLOB|CONTENT) SIZE|DISK USAGE|MODEL NAME|CREATED AT/g;

/** Reads the tables of `docker images`, `docker ps`, `crictl images`, `kubectl get -o wide`, and others. @type {Portal.Read} */
const readTable = (text, found) => {
	/** @type {string[]} */
	let columns = [];
	for (const written of text.split('\n')) {
		const line = written.replace(/[|│┃]/g, ' ').trim();
		const cells = line.split(/\s+/);
		const words = line.replace(COLUMN, (name) => name.replace(' ', '_')).split(/\s+/);
		if (words.length > 1 && words.every((word) => /^[A-Z][A-Z_-]*$/.test(word))) {
			columns = words;
			continue;
		}
		const cell = (/** @type {string[]} */ ...names) =>
			cells[columns.findIndex((name) => names.includes(name))];
		const [, name, version] = ROW.exec(line) ?? [];
		const [, running] = /^[0-9a-f]{12}\s+(\S+)\s+["']/.exec(line) ?? [];
		const images = cell('IMAGE', 'IMAGES', 'REPOSITORY', 'REF', 'MODEL_NAME') ?? running ?? name;
		const tag = columns[0] ? cell('TAG') : version;
		const digest = /^sha256:/.test(cell('DIGEST') ?? '') ? `@${cell('DIGEST')}` : '';
		for (const image of images?.split(',') ?? []) {
			if (image.startsWith('<') || (tag?.startsWith('<') && !digest)) continue;
			const isNamed = !tag || /@|:[^/]*$/.test(image);
			found.add(image + (isNamed ? '' : tag.startsWith('<') ? digest : `:${tag}`));
		}
	}
};

/** Reads messages of programs about new versions: `Bump nginx from 1.26 to 1.27`, `Update nginx Docker tag to v1.27`. @type {Portal.Read} */
const readUpdates = (text, found) => {
	const bump = /\bbumps?\s+\[?([^\s\]]+)(?:\]\(\S*\))?\s+from\s+\S+\s+to\s+(\S+)/gi;
	const row = /^\s*\|\s*\[?([^\s\]|]+)[^\n]*?`([^`\n]+)`\s*(?:->|→)\s*`([^`\n]+)`/gm;
	for (const [, name, version] of text.matchAll(bump)) found.add(`${name}:${version}`);
	for (const [, name = '', before = '', version = ''] of text.matchAll(row)) {
		const isDigest = /^[0-9a-f]{7,12}$/.test(version) && /^[0-9a-f]{7,12}$/.test(before);
		found.add(isDigest ? name : `${name}:${version}`);
	}
	const tag = /\b(?:update|bump)\s+(?:dependency\s+(\S+)|(\S+)\s+docker\s+tag)\s+to\s+v?(\d[\w.-]*)/gi;
	// Renovate writes a `v` before the version, which few tags have.
	for (const [, dependency, name = dependency, version] of text.matchAll(tag))
		for (const start of ['', 'v']) found.maybe(`${name}:${start}${version}`);
};

/** @type {Portal.Read} */
const readCommands = (text, found) => {
	for (const [, words, items] of text.matchAll(/\bfor\s+\w+\s+in\s+([^;\n]+)|\w*images?\w*=\(([^)]*)\)/gi))
		for (const word of (words ?? items ?? '').split(/\s+/)) if (found.nameOf(word)) found.add(word);
	for (const line of text.split('\n')) {
		const isRead = commandsOf(line).map((words) => readCommand(words, found));
		// A command may be inside quotes.
		if (!isRead.includes(true))
			for (const words of commandsOf(line.replace(/["']/g, ' '))) readCommand(words, found);
	}
};

/** @type {Portal.Read} */
const readAddresses = (text, found) => {
	for (const [address] of text.matchAll(ADDRESS)) {
		const { names = [], candidates = [], platform } = readAddress(address);
		for (const name of names) found.add(name);
		for (const name of candidates) found.maybe(name);
		if (platform) found.platform(platform);
	}
};

/** Reads what engines and scripts say of an image: `Failed to pull image "app:1"`, `IMAGE=app:1`. @type {Portal.Read} */
const readMessage = (text, found) => {
	const message =
		/\b(?:image:?|container)\s+["']([^"'\s]+)["']|\bimage:\s+(\S+:\w[\w.-]*)|(?:image (?:for|is up to date for)|manifest for(?! (?:linux|windows)\/)|manifest list entries:?|access denied for) (\S+)|^\s*(?:\w+\s+)?\w*IMAGE\w*\s*=\s*["']?([^\s"']+)/gim;
	for (const [, ...names] of text.matchAll(message)) found.add(names.find(Boolean) ?? '');
};
