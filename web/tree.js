import { say } from './more.js';
import { make } from './page.js';
import { size } from './text.js';

/**
 * A tree of files that opens as one goes.
 *
 * @see https://www.w3.org/WAI/ARIA/apg/patterns/treeview/
 * @type {Portal.MakeTree}
 */
export const makeTree = (label, list, pick) => {
	const tree = make('ul', { className: 'tree', role: 'tree', ariaLabel: label });
	/** The files of the rows, and how rows open. @type {WeakMap<Element, { file?: Portal.File; open?(): Promise<void> }>} */
	const items = new WeakMap();
	let current = /** @type {HTMLElement | undefined} */ (undefined);
	let typed = '';
	let typing = 0;

	const visible = () =>
		/** @type {HTMLElement[]} */ (
			[...tree.querySelectorAll('[role="treeitem"]')].filter((row) => !row.closest('[hidden]'))
		);
	const choose = (/** @type {HTMLElement | undefined} */ item, moves = true) => {
		if (!item) return;
		for (const other of [current, item]) {
			if (!other) continue;
			other.tabIndex = other === item ? 0 : -1;
			other.ariaSelected = `${other === item}`;
		}
		current = item;
		if (moves) item.focus();
		const { file } = items.get(item) ?? {};
		if (file) pick(file);
	};

	const add = (
		/** @type {HTMLElement} */ group,
		/** @type {Portal.FilePage} */ { files, next },
		/** @type {number} */ level,
		/** @type {string} */ folder,
		isFlat = false,
	) => {
		const rows = files.map((file) => {
			const name = isFlat ? file.path : file.path.slice(file.path.lastIndexOf('/') + 1);
			const notes = [
				file.type === 'file' ? size(file.size) : say(file.type),
				say('layer', { n: file.layer + 1 }),
			];
			const row = rowOf(name, notes, level);
			items.set(row, { file });
			if (file.type === 'directory' && !isFlat) makeFolder(row, file, level);
			return row.parentElement ?? row;
		});
		group.append(...rows);
		if (next === null) return;
		const more = rowOf(say('more'), [], level);
		const open = async () => {
			const at = group.children.length - 1;
			await whileBusy(group, async () => {
				const page = await list(folder, next);
				group.lastElementChild?.remove();
				add(group, page, level, folder);
			});
			const first = group.children[at]?.firstElementChild;
			if (first instanceof HTMLElement) choose(first);
		};
		items.set(more, { open });
		group.append(more.parentElement ?? more);
	};

	const makeFolder = (
		/** @type {HTMLElement} */ item,
		/** @type {Portal.File} */ file,
		/** @type {number} */ level,
	) => {
		const group = make('ul', { role: 'group', hidden: true });
		let isLoaded = false;
		item.ariaExpanded = 'false';
		item.after(group);
		const open = async () => {
			const isOpen = group.hidden;
			const show = () => {
				group.hidden = !isOpen;
				item.ariaExpanded = `${isOpen}`;
			};
			if (isLoaded || !isOpen) return show();
			await whileBusy(item, async () => {
				const page = await list(file.encodedPath);
				if (!isLoaded) add(group, page, level + 1, file.encodedPath);
				isLoaded = true;
				show();
			});
		};
		items.set(item, { file, open });
	};

	const toggle = (/** @type {Element} */ item) =>
		items
			.get(item)
			?.open?.()
			.catch(() => {});

	tree.onclick = ({ target }) => {
		const item = target instanceof Element ? target.closest('[role="treeitem"]') : null;
		if (!(item instanceof HTMLElement)) return;
		choose(item);
		toggle(item);
	};
	tree.onkeydown = (event) => {
		const item = current;
		if (!item || event.ctrlKey || event.altKey || event.metaKey) return;
		const all = visible();
		const at = all.indexOf(item);
		const [inward, outward] =
			document.dir === 'rtl' ? ['ArrowLeft', 'ArrowRight'] : ['ArrowRight', 'ArrowLeft'];
		const { key } = event;
		if (key === 'ArrowDown') choose(all[at + 1]);
		else if (key === 'ArrowUp') choose(all[at - 1]);
		else if (key === 'Home') choose(all[0]);
		else if (key === 'End') choose(all.at(-1));
		else if (key === inward && item.ariaExpanded === 'false') toggle(item);
		else if (key === inward && item.ariaExpanded === 'true') choose(all[at + 1]);
		else if (key === outward && item.ariaExpanded === 'true') toggle(item);
		else if (key === outward) choose(outerOf(item));
		else if (key === 'Enter' || key === ' ') toggle(item);
		else if (key.length === 1) {
			clearTimeout(typing);
			typing = window.setTimeout(() => {
				typed = '';
			}, 700);
			typed += key.toLowerCase();
			const from = typed.length > 1 ? at : at + 1;
			choose(
				[...all.slice(from), ...all.slice(0, from)].find((one) =>
					items.get(one)?.file?.path.replace(/^.*\//, '').toLowerCase().startsWith(typed),
				),
			);
		} else return;
		event.preventDefault();
	};
	return {
		element: tree,
		async fill(page, isFlat = false) {
			current = undefined;
			tree.replaceChildren();
			add(tree, page, 1, '/', isFlat);
			if (!page.files[0]) tree.append(rowOf(say('empty'), [], 1).parentElement ?? '');
			choose(visible()[0], false);
		},
	};
};

/** Hides the rows below an item until they are in place. @type {(item: HTMLElement, task: () => Promise<void>) => Promise<void>} */
const whileBusy = async (item, task) => {
	item.ariaBusy = 'true';
	try {
		await task();
		for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
	} finally {
		item.removeAttribute('aria-busy');
	}
};

/** The row of the directory that an item is in. @type {(item: HTMLElement) => HTMLElement | undefined} */
const outerOf = (item) => {
	const row = item.closest('[role="group"]')?.previousElementSibling;
	return row instanceof HTMLElement ? row : undefined;
};

/**
 * The row is the item, not the element around it: the names of all files below would belong to the name of the item.
 *
 * @type {(name: string, notes: string[], level: number) => HTMLElement}
 */
const rowOf = (name, notes, level) => {
	const row = make('span', { role: 'treeitem', tabIndex: -1, ariaSelected: 'false', ariaLevel: `${level}` });
	row.append(make('bdi', { dir: 'auto', textContent: name }));
	row.append(...notes.flatMap((textContent) => [' ', make('small', { textContent })]));
	make('li', { role: 'none' }).append(row);
	return row;
};
