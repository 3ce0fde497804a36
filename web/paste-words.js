import { fullName, repositoryOf, toName } from './paste.js';
import { isProgram } from './paste-shell.js';
import { ADDRESS } from './paste-urls.js';

const DIGEST = /^(?:sha256:)?[0-9a-f]{64}$/;
const FULL_PLATFORM = /^(?:(?:linux|windows)\/\w+(?:\/\w+)?|amd64|arm64)$/;
const VERSION = /^v?\d[\w.-]*$/;
const FILE =
	/\.(?:png|jpe?g|gif|svg|webp|ico|txt|md|pdf|html?|zip|tar|tgz|gz|xz|sif|ya?ml|json|toml|sh|py|js|ts|exe|deb|rpm)$/;
/** The maximum number of names without a tag or a registry in one line; more are a sentence. */
const PLAIN_MAX = 3;
/** More names in a sentence than anyone chooses from. */
const CANDIDATES_MAX = 5;
/** Words that mark a sentence, in the languages of the page that use Latin letters. */
const SENTENCE = new Set(
	[
		'baixar besoin bitte brauche con danke das et ich imagem je la laden lade le mit obrigado preciso scaricare und',
		'a all also an and any are as at be but by can command computer con container could database de',
		'deploy descargar desde do docker-image does download el en errors example fetch file find for from get give has have',
		'hello help hey hi how i image imagen images in install instead into is it la laptop las latest like',
		'local los machine me my necesito need needs new not of on only or our out para pc per please',
		'por pull quiero run running see server should show start tag tags that the then there these this to try',
		'un una use used using version want we web when where which will with without work would you your',
	].flatMap((line) => line.split(' ')),
);

/** Reads a list of names, or the names in a sentence. @type {Portal.Read} */
export const readWords = (text, found) => {
	const lines = text
		.replace(ADDRESS, ' ')
		// Chinese and Japanese have no spaces between words.
		.replace(/[\u3040-\u30ff\u3400-\u9fff]+/g, ' $& ')
		.replace(/(?<![\w.])[a-z_]\w*(?:\.\w+)+\(/gi, ' ')
		.replace(/(?<=\S[^\S\n]+)#\s.*$/gm, '');
	// In a list, a line that begins with # is a comment, not a command of root.
	const commented = /^[^\S\n]*[^#\s]/m.test(lines) ? lines.replace(/^[^\S\n]*#.*$/gm, '') : lines;
	const plain = commented
		.replace(/^[^\S\n]*(?:\d+[.)]|[-*•$#>])\s/gm, '')
		// The label of a list: `Images: nginx, redis`.
		.replace(/^\s*[^\s:[]+:\s+(?!v?\d)(?=[^[\n]*,)/, '');
	const all = wordsOf(plain);
	const isPlatform = (/** @type {string} */ word) => FULL_PLATFORM.test(word) && found.platform(word);
	const words = joinVersions(all[1] ? all.filter((word) => !isPlatform(word)) : all);
	if (words.some((word) => DIGEST.test(word))) found.digestAlone();
	const names = words.flatMap((word) => found.nameOf(word) ?? []);
	const isCommand = words.length > 1 && isProgram(words[0] ?? '');
	const certain = [...new Map(names.filter(isCertain).map((name) => [fullName(name), name])).values()];
	const pieces = plain.trim().split(/[\n,;|]+/);
	const isProse = pieces[1]
		? pieces.some((piece) => joinVersions(wordsOf(piece))[1])
		: words.length - certain.length > PLAIN_MAX || (words[2] && /[.!?]\s*$/.test(plain));
	const isList =
		names.length === words.length &&
		!(words[1] && (isProse || /[{}=]/.test(text) || words.some(isOfSentence)));
	if (isList && !isCommand) {
		for (const name of names) found.add(name);
		return;
	}
	const possible = names.filter((name) => !isOfSentence(name) && !FILE.test(name));
	if (certain.length === 1 && !isCommand) found.add(certain[0] ?? '');
	else if (certain[0]) for (const name of certain) found.maybe(name);
	else if (!isCommand && !/[{}=]/.test(text) && possible.length <= CANDIDATES_MAX)
		for (const name of possible) found.maybe(name);
};

/** Tells whether a name can't be a word: it has a tag, a digest, or a registry. @param {string} name */
const isCertain = (name) =>
	/^[^/]+\.[^/]+\/|@|:[^/]*$/.test(name) &&
	!FILE.test(name) &&
	!/^[^/]*\.[^/]*:\d+$|^localhost:\d+$/.test(name);

/** @param {string} text */
const wordsOf = (text) => text.split(/[\s,;|"'`()]+/).filter((word) => /[\w\u0080-\uffff]/.test(word));

/** Appends versions and digests to the names before them: `nginx 1.27`. @param {string[]} words */
const joinVersions = (words) => {
	/** @type {string[]} */
	const joined = [];
	for (const word of words) {
		const last = joined.at(-1) ?? '';
		const name = last.replace(/:$/, '');
		const canJoin = toName(name) && !isOfSentence(name) && !/^[0-9a-f]{12,}$/.test(name);
		if (canJoin && DIGEST.test(word)) joined.push(`${joined.pop()}@sha256:${word.slice(-64)}`);
		else if (canJoin && VERSION.test(word) && repositoryOf(name) === name)
			joined.push(`${joined.pop()?.replace(/:$/, '')}:${word}`);
		else if (!(joined[0] && /^(?:(?:tag|version)[:=]?|:)$/i.test(word))) joined.push(word);
	}
	return joined;
};

/** @param {string} word */
export const isOfSentence = (word) => SENTENCE.has(word.toLowerCase().replace(/[.!?:]+$/, ''));
