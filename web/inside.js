import { ask, request, session, unreachable } from './api.js';
import { say, styled } from './more.js';
import { make, makeButton } from './page.js';
import { size } from './text.js';
import { makeTree } from './tree.js';

/** Pages of 1000 names that a filter requests before it asks whether to continue. */
const PAGES = 5;
const MATCHES = 500;

/** Shows the files and the layers of an image. @type {Portal.Fill} */
export const show = async (box, query, signal) => {
	await styled;
	const stage = make('p', { className: 'stage', role: 'status', textContent: say('looking') });
	box.replaceChildren(stage);
	/** @type {Portal.ListFiles} */
	const list = async (path, after, recursive) => {
		const more = { ...(after && { after }), ...(recursive && { recursive: '1' }) };
		const parameters = new URLSearchParams({ ...query, ...more });
		return (await request(`/api/v1/files?${parameters}&path=${path}`, { signal })).json();
	};
	const first = await list('/').catch((error) => fail(stage, error));
	if (!first) return;
	if ('code' in first) {
		const button = makeButton(say('read'), async () => {
			button.remove();
			await read(query, signal, stage).then(
				() => show(box, query, signal),
				(error) => fail(stage, error),
			);
		});
		stage.textContent = say('unread');
		return stage.after(button);
	}

	const entry = make('p', { className: 'entry' });
	const pick = (/** @type {Portal.File} */ file) => showEntry(entry, file, query, signal);
	const top = makeTree(say('files'), list, pick);
	await top.fill(first);
	const filter = make('input', { type: 'search', autocomplete: 'off', spellcheck: false, dir: 'ltr' });
	const label = make('label', { textContent: `${say('filter')} ` });
	label.append(filter);
	const found = createSearch(list);
	let wanted = 0;
	filter.oninput = () => {
		clearTimeout(wanted);
		wanted = window.setTimeout(() => search(0), 300);
	};
	const search = async (/** @type {number} */ pages) => {
		const text = filter.value.trim().toLowerCase();
		if (text === '') {
			stage.textContent = '';
			return top.fill(first);
		}
		stage.textContent = say('looking');
		const { files, total, isComplete } = await found(text, pages);
		if (text !== filter.value.trim().toLowerCase()) return;
		stage.textContent = say('matches', { n: files.length, total });
		await top.fill({ files: files.slice(0, MATCHES), next: null }, true);
		if (!isComplete)
			stage.append(
				' ',
				makeButton(say('further'), () => search(PAGES)),
			);
	};
	stage.textContent = '';
	box.replaceChildren(label, stage, top.element, entry);
	// Load the layers first, so that their fold-out opens without moving the elements below it.
	const layers = make('details');
	layers.append(make('summary', { textContent: say('layers') }), await listLayers(query, signal));
	box.append(layers);
};

/** @param {HTMLElement} stage @param {any} error */
const fail = (stage, error) => {
	if (error?.name === 'AbortError') return undefined;
	const { title, detail } = error?.cause ?? {};
	stage.textContent = [title ?? say('failed'), detail].filter(Boolean).join(' ');
	return undefined;
};

/** Has the layers read, as a download does, and shows how far that is. @type {Portal.ReadLayers} */
const read = async (query, signal, stage) => {
	const status = new URLSearchParams({ ...query, format: 'rootfs' });
	const { body } = await request(`/dl/status?${status}`, { signal });
	let text = '';
	const decoder = new TextDecoder();
	const reader = body?.getReader();
	for (;;) {
		const { done, value } = (await reader?.read().catch(unreachable)) ?? { done: true };
		text += decoder.decode(value, { stream: true });
		const events = text.split('\n\n');
		text = events.pop() ?? '';
		for (const event of events) {
			const [, name] = /^event: (.*)$/m.exec(event) ?? [];
			const [, told = '{}'] = /^data: (.*)$/m.exec(event) ?? [];
			const { layers = [], ...problem } = JSON.parse(told);
			if (name === 'error') throw new Error('', { cause: problem });
			if (name === 'ready') return;
			const sum = (/** @type {string} */ key) =>
				layers.reduce((/** @type {number} */ all, /** @type {any} */ one) => all + (one[key] ?? 0), 0);
			stage.textContent = say('reading', { done: size(sum('current')), total: size(sum('total')) });
		}
		if (done) return unreachable();
	}
};

/** Remembers the names that were listed, for the next filter. @type {Portal.CreateSearch} */
const createSearch = (list) => {
	/** @type {Portal.File[]} */
	const known = [];
	/** @type {string | null | undefined} */
	let next;
	return async (text, pages) => {
		const least = next === undefined ? PAGES : pages;
		for (let page = 0; page < least && next !== null; page += 1) {
			const listed = await list('/', next, true);
			known.push(...listed.files);
			next = listed.next;
		}
		const files = known.filter(({ path }) => path.slice(path.lastIndexOf('/')).toLowerCase().includes(text));
		return { files, total: known.length, isComplete: next === null };
	};
};

/** Shows an entry with its download. @type {Portal.ShowEntry} */
const showEntry = (
	entry,
	{ path, encodedPath, type, size: bytes, mode, uid, gid, mtime, link, layer },
	query,
	signal,
) => {
	const name = path.slice(path.lastIndexOf('/') + 1) || 'rootfs';
	const rights = mode.toString(8).padStart(4, '0');
	const words = [
		type === 'file' ? size(bytes) : say(type),
		rights,
		`${uid}:${gid}`,
		// Isolate the date, which reads from left to right in Persian, too.
		`\u2066${mtime.slice(0, 10)}\u2069`,
		say('layer', { n: layer + 1 }),
	];
	const text = make('span');
	text.append(
		make('bdi', { dir: 'ltr', textContent: link === null ? path : `${path} → ${link}` }),
		make('small', { textContent: words.join(' · ') }),
	);
	entry.replaceChildren(text);
	if (!/^(?:file|directory|symlink)$/.test(type)) return;
	const href = `/file?${new URLSearchParams(query)}&path=${encodedPath}`;
	const label = say(type === 'directory' ? 'folder' : 'download');
	const button = make('a', { className: 'button', href, textContent: label });
	button.onclick = async (event) => {
		if (!session.headers.authorization) return;
		// A link sends no credentials, and a URL must not have them.
		event.preventDefault();
		button.ariaBusy = 'true';
		const answer = await request(href, { signal }).catch((error) => fail(text, error));
		if (answer) {
			const saved = URL.createObjectURL(await answer.blob());
			make('a', { href: saved, download: type === 'directory' ? `${name}.tar` : name }).click();
			setTimeout(() => URL.revokeObjectURL(saved), 60_000);
		}
		button.ariaBusy = 'false';
	};
	entry.append(button);
};

/** @type {Portal.ListLayers} */
const listLayers = async (query, signal) => {
	const { layers } = await ask('layers', query, signal);
	const list = make('ol', { className: 'layers' });
	for (const layer of layers) {
		const item = make('li');
		const { added, changed, removed, hiddenBytes } = layer;
		const changes = [
			say('packed', { size: size(layer.size), unpacked: size(layer.unpackedSize) }),
			say('changes', { added, changed, removed }),
			hiddenBytes > 0 && say('hidden', { size: size(hiddenBytes) }),
		];
		item.append(
			make('code', { dir: 'ltr', textContent: layer.command ?? layer.digest }),
			...changes.filter((text) => text !== false).map((textContent) => make('small', { textContent })),
		);
		list.append(item);
	}
	return list;
};
