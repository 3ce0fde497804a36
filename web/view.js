import { fetchCommands, loadCommands, quoted } from './commands.js';
import { byId, make } from './page.js';
import { date, exact, size, t } from './text.js';

/** @type {Portal.MakeCard} */
export const makeCard = (
	{ size: bytes, layers, files, created, config, name, signature, ...image },
	remove,
) => {
	const card = /** @type {DocumentFragment} */ (byId('card').content.cloneNode(true));
	const runs = [...(config.entrypoint ?? []), ...(config.command ?? [])].map(quoted).join(' ');
	const parts = layers ?? files;
	const packed = parts?.reduce((sum, part) => sum + part.size, 0) ?? 0;
	/** @type {Record<string, unknown>} */
	const values = {
		...{ ...image, runs },
		signature: t(signature.state, { keys: signature.keys.join(', ') }),
		size: bytes === null ? t('later') : `${size(bytes)}\n${exact(bytes)}`,
		layers: parts ? t('packed', { n: parts.length, size: size(packed) }) : t('later'),
		created: created && date(created),
	};
	for (const field of card.querySelectorAll('[data-is]')) {
		const text = `${values[field.getAttribute('data-is') ?? ''] || t('unknown')}`;
		const [first = '', ...more] = text.split('\n');
		field.append(...first.split(/(?<=\/)/).flatMap((part) => [part, make('wbr')]));
		field.append(...more.map((textContent) => make('small', { textContent })));
	}
	const button = card.querySelector('button');
	if (button && remove)
		Object.assign(button, { hidden: false, ariaLabel: t('remove', { name }), onclick: remove });
	return card;
};

/** @type {Portal.FillPlatforms} */
export const fillPlatforms = (select, [first, ...others]) => {
	const common = first?.platforms.filter((one) => others.every(({ platforms }) => platforms.includes(one)));
	select.replaceChildren(
		...(common ?? []).map((one) => new Option(one, one, false, one === first?.platform)),
	);
};

/** @type {Portal.ShowCommands} */
export const showCommands = (url, file, format, pulls) => {
	const lines = { ...fetchCommands(url, file, format), ...pulls };
	byId('metalink').href = `${url}&metalink=1`;
	const chosen = byId('tools').querySelector('input:checked')?.getAttribute('value') ?? '';
	const show = (/** @type {string} */ tool) => {
		byId('line').textContent = lines[tool] ?? '';
		byId('resume').hidden = !/^(?:wget|curl|aria2c)$/.test(tool);
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
	byId('tools').replaceChildren(...radios);
	show(first);
	byId('loading').textContent = loadCommands(file, format, url.split('myimage=').length - 1);
};
