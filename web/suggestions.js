import { make } from './page.js';

const PAUSE_MS = 300;

/** @type {Portal.Suggest} */
export const suggest = (input, list, load) => {
	/** @type {Portal.Option[]} */
	let options = [];
	let active = -1;
	let pause = setTimeout(() => {});
	let asking = new AbortController();

	const mark = (/** @type {number} */ index) => {
		active = index;
		for (const [at, item] of [...list.children].entries()) item.ariaSelected = `${at === active}`;
		list.children[active]?.scrollIntoView({ block: 'nearest' });
		input.setAttribute('aria-activedescendant', active < 0 ? '' : `option${active}`);
	};
	const show = (/** @type {Portal.Option[]} */ found, at = -1) => {
		options = found;
		list.replaceChildren(
			...found.map(({ label, note, choose }, index) => {
				const item = make('li', { id: `option${index}`, role: 'option', onclick: choose });
				item.append(make('bdi', { textContent: label }));
				if (note) item.append(make('small', { textContent: note }));
				// Keep the focus.
				item.onpointerdown = (event) => event.preventDefault();
				return item;
			}),
		);
		list.hidden = found.length === 0;
		input.ariaExpanded = `${!list.hidden}`;
		mark(at);
	};
	const stop = () => {
		clearTimeout(pause);
		asking.abort();
		asking = new AbortController();
		return asking.signal;
	};
	const close = () => {
		stop();
		show([]);
	};
	const ask = async () => {
		const signal = stop();
		const found = await load(input.value, signal).catch(() => []);
		if (!signal.aborted && document.activeElement === input) show(found);
	};

	input.addEventListener('input', () => {
		stop();
		pause = setTimeout(ask, PAUSE_MS);
	});
	input.onblur = close;
	input.onkeydown = (event) => {
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (step && list.hidden) ask();
		else if (step) mark((Math.max(active, -(step + 1) / 2) + step + options.length) % options.length);
		else if (event.key === 'Enter' && active >= 0) options[active]?.choose();
		else if (event.key === 'Escape' && !list.hidden) close();
		else return;
		event.preventDefault();
	};
	return { ask, close, show };
};
