import { session } from './api.js';
import { checkCommands, fetchCommands, loadCommands, quoted } from './commands.js';
import { breakable, byId, make, makeButton } from './page.js';
import { date, exact, size, t } from './text.js';

/** @type {Portal.MakeCard} */
export const makeCard = ({ size: bytes, layers, files, created, config, signature, kind, ...image }) => {
	const card = /** @type {DocumentFragment} */ (byId('card').content.cloneNode(true));
	const runs = [...(config.entrypoint ?? []), ...(config.command ?? [])].map(quoted).join(' ');
	const isImage = kind === 'image';
	const unknown = t('unknown');
	// The card omits values without a text.
	/** @type {Record<string, string | null | undefined>} */
	const values = {
		reference: image.reference,
		size: bytes === null ? t('later') : [...new Set([size(bytes), exact(bytes)])].join('\n'),
		layers: isImage ? countOf(layers) : '',
		files: isImage ? '' : files?.map(({ name, size: length }) => `${name} (${size(length)})`).join('\n'),
		created: created ? date(created) : isImage ? unknown : '',
		signature:
			signature.state === 'not-checked' ? '' : t(signature.state, { keys: signature.keys.join(', ') }),
		platform: image.platform,
		runs: isImage ? runs || unknown : '',
		artifactType: image.artifactType,
		digest: image.digest,
	};
	for (const field of card.querySelectorAll('[data-is]')) {
		const text = values[field.getAttribute('data-is') ?? ''];
		const [first = '', ...more] = (text ?? '').split('\n');
		field.append(...breakable(first));
		field.append(...more.map((textContent) => make('small', { textContent })));
		if (!text) field.closest('dl > div')?.remove();
	}
	return card;
};

/** @param {Portal.Image['layers']} layers */
const countOf = (layers) => {
	const packed = layers?.reduce((sum, layer) => sum + layer.size, 0) ?? 0;
	return layers ? t('packed', { n: layers.length, size: size(packed) }) : t('later');
};

/** @type {Portal.MakeRow} */
export const makeRow = (name, { note, isWrong, remove, choices = [] }) => {
	const row = make('li', { className: isWrong ? 'wrong' : '' });
	const text = make('span');
	const shown = make('bdi', { dir: 'ltr' });
	shown.append(...breakable(name));
	text.append(shown, make('small', { textContent: note }));
	const button = makeButton('✕', remove);
	Object.assign(button, { className: 'remove', ariaLabel: t('remove', { name }) });
	row.append(text, button);
	if (choices.length > 0) {
		const chips = make('p', { className: 'chips' });
		chips.append(...choices);
		row.append(chips);
	}
	return row;
};

/** @type {Portal.FillPlatforms} */
export const fillPlatforms = (select, [first, ...others]) => {
	const common = first?.platforms.filter((one) => others.every(({ platforms }) => platforms.includes(one)));
	select.replaceChildren(
		...(common ?? []).map((one) => new Option(one, one, false, one === first?.platform)),
	);
	byId('platforms').hidden = !common?.length;
};

/** @type {Portal.ShowCommands} */
export const showCommands = (url, [file = '', ...more], format, pulls) => {
	const whole = file.replace(/\.part\d+of\d+$/, '');
	const lines = session.commands(
		more[0] ? partCommands(url, [file, ...more]) : { ...fetchCommands(url, file, format), ...pulls },
	);
	const chosen = byId('tools').querySelector('input:checked')?.getAttribute('value') ?? '';
	const show = (/** @type {string} */ tool) => {
		byId('line').textContent = lines[tool] ?? '';
		byId('resume').hidden = tool in pulls;
		byId('metalink').hidden = tool !== 'aria2c';
	};
	const first = chosen in lines ? chosen : 'wget';
	const radios = Object.keys(lines).map((tool) => {
		const label = make('label');
		const onchange = () => show(tool);
		label.append(
			make('input', { type: 'radio', name: 'tool', value: tool, checked: tool === first, onchange }),
			tool,
		);
		return label;
	});
	// The commands of many parts scroll, so the keyboard must be able to focus them.
	if (more[0]) byId('line').tabIndex = 0;
	else byId('line').removeAttribute('tabindex');
	byId('tools').replaceChildren(...radios);
	show(first);
	const join = more[0] ? `cat ${quoted(whole)}.part* > ${quoted(whole)}\n` : '';
	byId('loading').textContent =
		join + loadCommands(whole, format, new URL(url).searchParams.getAll('myimage'));
};

/** The commands of each tool that saves files, one line for each part. @type {Portal.PartCommands} */
const partCommands = (url, files) => {
	const ofParts = files.map((file, at) => fetchCommands(`${url}&part=${at + 1}`, file, 'files'));
	const tools = Object.keys(ofParts[0] ?? {});
	return Object.fromEntries(tools.map((tool) => [tool, ofParts.map((lines) => lines[tool]).join('\n')]));
};

/** Links to the parts after the first one. @type {Portal.ShowParts} */
export const showParts = (url, files) =>
	byId('parts').replaceChildren(
		...files.map((textContent, at) => make('a', { href: `${url}&part=${at + 1}`, textContent })).slice(1),
	);

/** The lines that compare checksums, of the form `HASH  FILE`. @param {string[]} sums */
export const showSums = (sums) => {
	byId('hash').textContent = sums.map((line) => line.split('  ')[0]).join('\n');
	for (const [id, command] of Object.entries(checkCommands(sums))) byId(id).textContent = command;
};
