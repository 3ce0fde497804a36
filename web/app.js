import { ask, peek, Refusal } from './api.js';
import { downloadUrl, escaped } from './commands.js';
import { find } from './finder.js';
import { byId, data, makeButton } from './page.js';
import { fullName, parsePaste, repositoryOf } from './paste.js';
import { showProblem } from './problem.js';
import { recall, remember } from './recent.js';
import { keepLanguage, showLimits } from './service.js';
import { suggest } from './suggestions.js';
import { date, size, t } from './text.js';
import { fillPlatforms, makeCard, showCommands } from './view.js';

const [input, platforms, formats, pin] = [byId('image'), byId('platform'), byId('format'), byId('pin')];
const [link, names, result, problem] = [byId('download'), byId('names'), byId('result'), byId('problem')];
const hint = names.textContent ?? '';

const { isEngine, maxImages, search } = data;
byId('formats').hidden = isEngine;
let platform = '';
let looking = new AbortController();

const suggestions = suggest(input, byId('options'), (text, signal) =>
	find(text, signal, { search, fill: open, show: suggestions.show }),
);

/** @param {string} text */
const say = (text) => {
	byId('status').textContent = text;
};

/** Shows in full what is meant, as one types. */
const showNames = () => {
	const pasted = parsePaste(input.value);
	input.ariaInvalid = 'false';
	names.textContent =
		pasted.problem === 'digest' ? t('digest') : pasted.images.map(fullName).join(', ') || hint;
};

/** @param {string} text */
const setField = (text) => {
	input.value = text;
	showNames();
};

/** @param {string} text */
function open(text) {
	setField(text);
	lookUp();
}

/** Looks up what the field says, and shows it. */
const lookUp = async () => {
	looking.abort();
	looking = new AbortController();
	const { signal } = looking;
	suggestions.close();
	const pasted = parsePaste(input.value);
	const { images } = pasted;
	const mistake = pasted.problem
		? t(pasted.problem)
		: images.length > maxImages && t('tooMany', { n: maxImages });
	if (mistake || images.length === 0) {
		input.ariaInvalid = 'true';
		names.textContent = mistake || hint;
		return say(mistake || hint);
	}
	platform = pasted.platform ?? platform;
	say(t('looking'));
	names.textContent = t('looking');
	const ofPlatform = { ...(platform && { platform }), format: formats.value };
	const describe = (/** @type {string} */ myimage) => ask('image', { myimage, ...ofPlatform }, signal);
	try {
		let found = await Promise.all(images.map(describe));
		if (pin.checked) found = await Promise.all(found.map(({ pinned, name }) => describe(pinned ?? name)));
		await show(images, found, signal);
		remember(images.join(' '));
		showRecent();
	} catch (error) {
		if (signal.aborted) return;
		fail(error);
	}
	showLimits();
};

/** @type {(images: string[], found: Portal.Image[], signal: AbortSignal) => Promise<void>} */
const show = async (images, found, signal) => {
	const [only] = found;
	if (!only) return;
	const format = formats.value;
	const called = found.map(({ name }) => name);
	const url = downloadUrl({ images: called, platform, format });
	let { filename: file, size: bytes } = only;
	const mayBeRefused = found.some(({ signature }) => signature.isRequired && signature.reason);
	// An engine would make the file for it.
	const head = mayBeRefused || (images[1] && !isEngine) ? await peek(url, signal) : undefined;
	if (images[1]) {
		file = head?.get('content-disposition')?.split('"')[1] ?? 'images.tar';
		bytes = head ? Number(head.get('content-length')) : null;
	}
	const remove = (/** @type {number} */ at) => () => {
		open(images.toSpliced(at, 1).join(' '));
		input.focus();
	};
	byId('cards').replaceChildren(...found.map((one, at) => makeCard(one, images[1] ? remove(at) : undefined)));
	fillPlatforms(platforms, found);
	byId('pinning').hidden = images.every((name) => name.includes('@'));
	byId('tags').hidden = images.length > 1;
	link.href = url;
	byId('file').textContent = file;
	byId('size').textContent = bytes === null ? '' : size(bytes);
	const since = found.find(({ staleSince }) => staleSince)?.staleSince;
	byId('notice').textContent = [
		since && t('stale', { date: date(since) }),
		found.some(({ zstd }) => zstd) && t('zstd'),
	]
		.filter(Boolean)
		.join(' ');
	byId('progress').hidden = true;
	showCommands(location.origin + url, file, format);
	problem.hidden = true;
	result.hidden = false;
	names.textContent = found.map(({ reference }) => reference).join(', ');
	say(`${called.join(' + ')}: ${bytes === null ? t('later') : size(bytes)}`);

	const query = called.map((name) => `image=${escaped(name)}`);
	if (platform) query.push(`platform=${escaped(platform)}`);
	if (format !== 'docker') query.push(`format=${format}`);
	const address = `?${query.join('&')}`;
	if (address !== location.search) history.pushState(null, '', address);
};

/** @param {unknown} error */
const fail = (error) => {
	const told = error instanceof Refusal ? error.problem : {};
	const choose = (/** @type {string} */ other) => {
		platform = other;
		lookUp();
	};
	result.hidden = true;
	showNames();
	say(showProblem(told, { retry: lookUp, choose }));
};

const showRecent = () => {
	const used = recall();
	const clear = () => {
		remember();
		showRecent();
		input.focus();
	};
	byId('recent').replaceChildren(
		...used.map((name) => makeButton(name, () => open(name))),
		makeButton(t('clear'), clear),
	);
	byId('recent').hidden = used.length === 0;
};

const readAddress = () => {
	const query = new URLSearchParams(location.search);
	// The form sends the other name, where it is sent before this module is there.
	const images = [...query.getAll('image'), ...query.getAll('myimage')].join(' ');
	platform = query.get('platform') ?? '';
	formats.value = (!isEngine && query.get('format')) || 'docker';
	setField(images || input.value);
	if (images) lookUp();
	else result.hidden = problem.hidden = true;
};

/** @type {(id: string, text: () => string | null) => void} */
const copyOn = (id, text) => {
	const button = byId(id);
	const label = button.textContent;
	button.onclick = async () => {
		await navigator.clipboard.writeText(text() ?? '');
		button.textContent = t('copied');
		say(t('copied'));
		setTimeout(() => Object.assign(button, { textContent: label }), 2000);
	};
};

byId('form').onsubmit = (event) => {
	event.preventDefault();
	lookUp();
};
input.addEventListener('input', showNames);
input.onpaste = () => setTimeout(() => parsePaste(input.value).images.length > 0 && lookUp());
platforms.onchange = () => {
	platform = platforms.value;
	lookUp();
};
formats.onchange = pin.onchange = lookUp;
byId('another').onclick = () => {
	setField(`${input.value.trim()} `);
	input.focus();
};
byId('tags').onclick = () => {
	setField(`${repositoryOf(parsePaste(input.value).images[0] ?? '')}:`);
	input.focus();
	suggestions.ask();
};
copyOn('copy', () => byId('line').textContent);
copyOn('share', () => location.href);
link.onclick = async (event) => {
	if (!isEngine || event.ctrlKey || event.metaKey) return;
	event.preventDefault();
	const { watch } = await import('./progress.js');
	watch(link.href).catch(fail);
};
byId('sum').onclick = async () => (await import('./checksum.js')).showChecksum(link.href, say);
addEventListener('popstate', readAddress);
keepLanguage();
showRecent();
readAddress();
