import { ask, peek, session } from './api.js';
import { downloadUrl, escaped, exactDownload, isDefault, pullCommands } from './commands.js';
import { fillExtras, fitExtras, onExtras, readExtras } from './extras.js';
import { find } from './finder.js';
import { offer, withdraw } from './folds.js';
import { breakable, byId, data, make, makeButton } from './page.js';
import { fullName, parsePaste, repositoryOf } from './paste.js';
import { showCandidates, showProblem } from './problem.js';
import { recall, remember } from './recent.js';
import { showLimits } from './service.js';
import { suggest } from './suggestions.js';
import { date, size, t } from './text.js';
import { fillPlatforms, makeCard, makeRow, showCommands, showParts, showSums } from './view.js';

const [form, input, names] = [byId('form'), byId('image'), byId('names')];
const [platforms, formats] = [byId('platform'), byId('format')];
const [link, result, problem] = [byId('download'), byId('result'), byId('problem')];
const hint = names.dataset.hint ?? '';
const { title } = document;
const { prepares, slowFormats, maxImages, search, registryApi } = data;
byId('formats').hidden = !formats.options[1];
let platform = '';
let looking = new AbortController();

const suggestions = suggest(input, byId('options'), (text, signal) =>
	find(text, signal, { search, fill: open, show: suggestions.show }),
);

/** @param {string} text */
const say = (text) => {
	byId('status').textContent = text;
};

/** @param {string} text */
const read = (text) => parsePaste(text, location.host);

const showNames = async () => {
	const { value } = input;
	const { signal } = looking;
	input.ariaInvalid = 'false';
	const pasted = await read(value);
	// Meanwhile, the text may have changed or been looked up.
	if (value !== input.value || signal.aborted) return;
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

const startAnew = () => {
	looking.abort();
	looking = new AbortController();
	suggestions.close();
	byId('progress').hidden = byId('started').hidden = true;
	form.ariaBusy = 'false';
	return looking.signal;
};

/** The blocks that other choices change, and the space for the lines that another format or platform can add, in em. */
const KEPT = /** @type {const} */ ([
	['answer', 0],
	['tools', 0],
	['line', 3],
	['loaders', 3],
	['sums', 3],
	['cards', 0],
]);

/** Keeps the heights of blocks, so that a choice does not move its own field. @param {boolean} isKept */
const keepHeights = (isKept) => {
	for (const [id, spare] of KEPT) {
		const { style, offsetHeight } = byId(id);
		const height = `calc(${offsetHeight}px + ${style.minHeight ? 0 : spare}em)`;
		style.minHeight = isKept && offsetHeight > 0 ? height : '';
	}
};

/** @type {Portal.LookUp} */
const lookUp = async ({ put = 'pushState', moves = true, several } = {}) => {
	const signal = startAnew();
	// At once, while movements belong to the action of the visitor.
	if (input.value.trim()) byId('main').className = 'tall';
	problem.hidden = true;
	// The details of another image may be of any height.
	if (moves) {
		result.hidden = true;
		withdraw();
		byId('main').style.minHeight = '';
		scrollTo(0, 0);
	}
	keepHeights(!moves && !result.hidden);
	const pasted = await read(input.value);
	if (signal.aborted) return;
	const { images, candidates } = pasted;
	const mistake = pasted.problem
		? t(pasted.problem)
		: images.length > maxImages && t('tooMany', { n: maxImages });
	if (mistake || images.length === 0) {
		input.ariaInvalid = 'true';
		names.textContent = candidates[0] ? '' : mistake || hint;
		return say(candidates[0] ? showCandidates(candidates, chooseCandidate) : mistake || hint);
	}
	platform = pasted.platform ?? platform;
	say(t('looking'));
	names.textContent = t('looking');
	form.ariaBusy = 'true';
	const { value } = formats;
	const ofPlatform = { ...(platform && { platform }), ...(!isDefault(value) && { format: value }) };
	const describe = (/** @type {string} */ myimage) => ask('image', { myimage, ...ofPlatform }, signal);
	try {
		const asked = await Promise.allSettled(images.map(describe));
		const failed = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
		if (failed.length === asked.length) throw failed[0];
		await show(images, asked, signal, put, pasted.platforms ?? several);
		remember(images.join(' '));
		showRecent();
		if (moves) link.focus();
	} catch (error) {
		if (signal.aborted) return;
		fail(error);
	}
	form.ariaBusy = 'false';
	names.textContent = '';
	showLimits();
};

/** @type {Portal.ChooseCandidate} */
const chooseCandidate = (name) => {
	if (!name.endsWith(':')) return open(name);
	problem.hidden = true;
	setField(name);
	input.focus();
	suggestions.ask();
};

/** Returns the shortest complete name: `nginx:1.27`. @param {Portal.Image} image */
const titleOf = ({ reference }) => reference.replace(/^docker\.io\/(?:library\/)?/, '');

/** @type {Portal.Show} */
const show = async (images, asked, signal, put, several) => {
	const found = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
	const [only] = found;
	if (!only) return;
	formats.value = only.format;
	const format = formats.value;
	const called = found.map(({ name }) => name);
	fitExtras(format);
	const extras = readExtras();
	const query = extras.map(({ name, value }) => `&${name}=${escaped(value)}`).join('');
	const isAll = extras.some(({ name }) => name === 'platform');
	const address = (/** @type {string[]} */ names) =>
		downloadUrl({ images: names, platform: isAll ? '' : platform, format }) + query;
	const url = address(called);
	let { filename: file, size: bytes } = only;
	const mayBeRefused = found.some(({ signature }) => signature.isRequired && signature.reason);
	// To state the size of these takes the whole work.
	const isSlow = prepares || slowFormats.includes(format);
	const hasParts = extras.some(({ name }) => name === 'parts');
	const isOther = found[1] || query;
	const head =
		mayBeRefused || hasParts || (isOther && !isSlow)
			? await peek(hasParts ? `${url}&part=1` : url, signal)
			: undefined;
	if (isOther) {
		file = head?.get('content-disposition')?.split('"')[1] ?? (found[1] ? 'images.tar' : file);
		bytes = head ? Number(head.get('content-length')) : null;
	}
	signal.throwIfAborted();
	const files = partsOf(file);
	const wrong = asked.length - found.length;
	byId('title').replaceChildren(
		...(images[1] ? [t('images', { n: found.length })] : breakable(titleOf(only))),
	);
	byId('rows').replaceChildren(...(images[1] ? asked.map((one, at) => rowOf(images, at, one)) : []));
	byId('cards').replaceChildren(...found.map(makeCard));
	fillPlatforms(platforms, found);
	platforms.disabled = isAll;
	byId('tags').hidden = images.length > 1;
	link.href = hasParts ? `${url}&part=1` : url;
	showParts(url, files);
	byId('parts').hidden = !hasParts;
	byId('sumLink').href = `${url}&checksum=1`;
	// As long as the checksum, so that nothing moves once it is known.
	showSums(files.map((name) => `${'·'.repeat(64)}  ${name}`));
	byId('file').textContent = file;
	byId('size').textContent = bytes === null ? '' : size(bytes);
	const since = found.find(({ staleSince }) => staleSince)?.staleSince;
	byId('notice').textContent = [
		wrong > 0 && t('leftOut', { n: wrong }),
		several && t('platforms', { list: several.join(', ') }),
		since && t('stale', { date: date(since) }),
		found.some(({ zstd }) => zstd) && t('zstd'),
	]
		.filter(Boolean)
		.join(' ');
	const full = found.map(({ reference }) => reference);
	const pulls = registryApi ? pullCommands(location.host, full, platform) : {};
	const byDigest = exactDownload(found, { platform, format });
	const exactUrl = downloadUrl(isAll ? { ...byDigest, platform: '' } : byDigest) + query;
	// An engine saves another file each time, whatever the URL is.
	showCommands(location.origin + (prepares ? url : exactUrl), files, format, query ? {} : pulls);
	byId('metalink').href = `${location.origin}${url}&metalink=1`;
	offer(images[1] ? undefined : only, platform);
	problem.hidden = true;
	result.className = '';
	result.hidden = false;
	document.title = `${called.join(' + ')} · DockerProxy`;
	say(`${called.join(' + ')}: ${bytes === null ? t('later') : size(bytes)}`);
	const all = asked.map((one, at) => (one.status === 'fulfilled' ? one.value.name : (images[at] ?? '')));
	const shared = address(all).slice(3).replaceAll('myimage=', 'image=');
	if (shared !== location.search) history[put](null, '', shared);
};

/** `a.tar.part1of2`, `a.tar.part2of2`: all parts of a file, by the name of the first one. @param {string} file */
const partsOf = (file) => {
	const [, name, width = '', count] = /^(.*\.part)(\d+)of(\d+)$/.exec(file) ?? [];
	if (!count) return [file];
	const numbers = Array.from({ length: Number(count) }, (_, at) => `${at + 1}`.padStart(width.length, '0'));
	return numbers.map((number) => `${name}${number}of${count}`);
};

/** @type {Portal.RowOf} */
const rowOf = (images, at, asked) => {
	const put = (/** @type {string[]} */ ...instead) => {
		// Removing the row would lose the focus.
		input.focus();
		open(images.toSpliced(at, 1, ...instead).join(' '));
	};
	const remove = () => put();
	if (asked.status === 'fulfilled') {
		const { size: bytes } = asked.value;
		return makeRow(titleOf(asked.value), { note: bytes === null ? '' : size(bytes), remove });
	}
	const { title: note = t('failed'), repository, similarTags = [] } = problemOf(asked.reason);
	const choices = similarTags.map((tag) => makeButton(tag, () => put(`${repository}:${tag}`)));
	return makeRow(images[at] ?? '', { note, isWrong: true, remove, choices });
};

/** @param {unknown} error @returns {Portal.Problem} */
const problemOf = (error) => /** @type {Portal.Problem} */ (error instanceof Error && error.cause) || {};

/** @type {Portal.Fail} */
const fail = (error, again) => {
	const told = problemOf(error);
	const choose = (/** @type {string} */ other) => {
		platform = other;
		lookUp();
	};
	const missing = fullName(`${told.repository}:${told.tag}`);
	const chooseTag = async (/** @type {string} */ tag) => {
		const { images } = await read(input.value);
		open(images.map((name) => (fullName(name) === missing ? `${told.repository}:${tag}` : name)).join(' '));
		input.focus();
	};
	byId('progress').hidden = true;
	fitExtras(formats.value);
	const canCorrect = readExtras().length > 0 || !isDefault(formats.value);
	// A refused choice stays in place, and so does everything around it.
	const isChoice = !again && !result.hidden && result.className !== 'failed';
	result.hidden = !again && !isChoice && !canCorrect;
	result.className = again ? '' : isChoice ? 'stale' : 'failed';
	if (canCorrect && !again && !isChoice) byId('advanced').setAttribute('open', '');
	// The problem must not cover the field or the button that caused it.
	const isLow = (document.activeElement?.getBoundingClientRect().top ?? 0) > innerHeight / 2;
	problem.className = again || isChoice ? `card over ${isLow ? 'high' : ''}` : 'card';
	const retry = again ?? (() => lookUp());
	say(showProblem(told, { retry, choose, chooseTag }));
	if (told.code === 'offline') addEventListener('online', retry, { once: true, signal: looking.signal });
	// The next image must not fail because of this one.
	if (told.code?.startsWith('platform-')) platform = '';
};

/** @type {Portal.Run} */
const run = (task, url) => {
	const { signal } = looking;
	problem.hidden = true;
	task(url, signal, say).catch((error) => error.name === 'AbortError' || fail(error, () => run(task, url)));
};

/** @type {Portal.Load} */
const load = (module, url) => module.then(({ task }) => run(task, url)).catch(() => location.assign(url));

const showRecent = () => {
	const used = recall();
	const clear = () => {
		remember();
		showRecent();
		input.focus();
	};
	byId('recent').replaceChildren(
		...used.slice(0, 3).map((name) => makeButton(name, () => open(name))),
		makeButton(t('clear'), clear),
	);
	byId('recent').hidden = used.length === 0;
	// They take the place of the examples, so that nothing moves.
	byId('examples').hidden = used.length > 0;
};

const readAddress = () => {
	const query = new URLSearchParams(location.search);
	// The form without scripts uses myimage.
	const images = [...query.getAll('image'), ...query.getAll('myimage')].join(' ');
	const named = query.get('platform') ?? '';
	platform = named === 'all' ? '' : named;
	formats.value = query.get('format') ?? '';
	if (!formats.value) formats.selectedIndex = 0;
	fillExtras(query);
	setField(images || input.value);
	if (images) lookUp({ put: 'replaceState', moves: false });
	else {
		startAnew();
		document.title = title;
		byId('main').className = byId('main').style.minHeight = '';
		result.hidden = problem.hidden = true;
	}
};

/** Focuses the field of the start page. */
const invite = () => {
	// On phones the keyboard would cover the page.
	const hasKeyboard = matchMedia('(hover: hover) and (pointer: fine)').matches;
	if (hasKeyboard && !byId('main').className) input.focus({ preventScroll: true });
};

/** @type {(id: string, text: () => string | null) => void} */
const copyOn = (id, text) => {
	const button = byId(id);
	const label = button.textContent;
	button.onclick = async () => {
		const value = text() ?? '';
		try {
			await navigator.clipboard.writeText(value);
		} catch {
			// Plain HTTP lacks this API.
			const field = make('textarea', { className: 'off', value });
			button.after(field);
			field.select();
			document.execCommand('copy');
			field.remove();
			button.focus();
		}
		button.textContent = t('copied');
		say(t('copied'));
		setTimeout(() => Object.assign(button, { textContent: label }), 2000);
	};
};

form.onsubmit = (event) => {
	event.preventDefault();
	lookUp();
};
input.addEventListener('input', showNames);
input.onpaste = async (event) => {
	const text = event.clipboardData?.getData('text') ?? '';
	const hasLines = /\n./.test(text);
	// The field would join lines.
	if (hasLines) event.preventDefault();
	const { images, candidates, platform: pasted, platforms: several } = await read(text);
	// A name is read before the browser has put it into the field.
	await new Promise((done) => setTimeout(done));
	if (hasLines) {
		const instead = images.join(' ') || text.replace(/\s+/g, ' ');
		input.setRangeText(instead, input.selectionStart ?? 0, input.selectionEnd ?? 0, 'end');
		platform = pasted ?? platform;
		showNames();
	}
	if (images[0]) lookUp({ several });
	else if (candidates[0]) say(showCandidates(candidates, chooseCandidate));
};
platforms.onchange = () => {
	platform = platforms.value;
	lookUp({ moves: false });
};
formats.onchange = () => {
	// Before the response, because these fields move the ones below them.
	fitExtras(formats.value);
	lookUp({ moves: false });
};
onExtras(() => {
	// Each part adds lines to this fold-out.
	byId('check').removeAttribute('open');
	byId('parts').hidden = !readExtras().some(({ name }) => name === 'parts');
	lookUp({ moves: false });
});
byId('another').onclick = () => {
	setField(`${input.value.trim()} `);
	input.focus();
};
byId('tags').onclick = async () => {
	const { images } = await read(input.value);
	setField(`${repositoryOf(images[0] ?? '')}:`);
	input.focus();
	suggestions.ask();
};
byId('examples').onclick = (event) => {
	const { target, ctrlKey, metaKey, shiftKey } = event;
	if (!(target instanceof HTMLAnchorElement) || ctrlKey || metaKey || shiftKey) return;
	event.preventDefault();
	open(target.textContent ?? '');
};
copyOn('copy', () => byId('line').textContent);
copyOn('share', () => location.href);
link.onclick = (event) => {
	byId('started').hidden = false;
	for (const id of ['load', 'check']) byId(id).setAttribute('open', '');
	say(byId('started').textContent ?? '');
	const isSlow = prepares || slowFormats.includes(formats.value);
	// The events of a preparation cannot be requested with credentials.
	if (!isSlow || session.post || event.ctrlKey || event.metaKey) return;
	event.preventDefault();
	byId('progress').hidden = false;
	load(import('./progress.js'), link.href);
};
byId('sum').onclick = () => load(import('./checksum.js'), byId('sumLink').href);
addEventListener('popstate', () => {
	// Another view has its parts at other places. Hiding the page for a frame prevents a visible movement.
	const { style, offsetHeight } = byId('main');
	style.visibility = 'hidden';
	// The footer stays in place until the result is known.
	style.minHeight = `${offsetHeight}px`;
	result.hidden = true;
	input.value = '';
	readAddress();
	requestAnimationFrame(() =>
		setTimeout(() => {
			style.visibility = '';
			invite();
		}),
	);
});
byId('languages').ontoggle = () => {
	const images = location.search.replace(/&?lang=\w+/, '');
	for (const there of byId('languages').getElementsByTagName('a'))
		there.search = `${images}&lang=${there.lang}`;
};
showRecent();
readAddress();
invite();
