import { request } from './api.js';
import { quoted } from './commands.js';
import { byId, make } from './page.js';
import { t } from './text.js';

const shown = make('div', { dir: 'auto' });

/** Has the checksum of a download computed, which may take long, and shows how to compare it. @type {Portal.Task} */
export const task = async (url, signal, say) => {
	const button = byId('sum');
	const address = `${url.replace(/&part=1$/, '')}&checksum=1`;
	button.ariaBusy = 'true';
	shown.textContent = t('computing');
	button.parentElement?.after(shown);
	say(t('computing'));
	const forget = () => shown.remove();
	// Another image, platform or format is another file.
	signal.addEventListener('abort', forget);
	try {
		const lines = (await (await request(address, { signal })).text()).trim().split('\n');
		const sums = lines.map((line) => line.split('  '));
		const [[hash = ''] = []] = sums;
		const all = lines.map((line) => `'${line}'`).join(' ');
		const compared = sums.map(([sum = '', file = '']) => `(Get-FileHash ${quoted(file)}).Hash -eq '${sum}'`);
		shown.replaceChildren(
			make('code', { textContent: hash, dir: 'ltr' }),
			' ',
			make('a', { href: address, textContent: '.sha256' }),
			...[
				['Linux', `printf '%s\\n' ${all} | sha256sum -c`],
				['macOS', `printf '%s\\n' ${all} | shasum -a 256 -c`],
				['Windows PowerShell', compared.join('\n')],
			].flatMap(([textContent, line = '']) => {
				const block = make('pre');
				block.append(make('code', { textContent: line }));
				return [make('p', { className: 'hint', textContent }), block];
			}),
		);
		say(`SHA-256 ${hash}`);
	} catch (error) {
		forget();
		throw error;
	} finally {
		button.ariaBusy = 'false';
	}
};
