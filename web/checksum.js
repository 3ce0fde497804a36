import { request } from './api.js';
import { byId, make } from './page.js';
import { t } from './text.js';

const shown = make('p', { className: 'hint', dir: 'auto' });

/** Has the checksum of a download computed, which may take long, and shows it. @type {Portal.Task} */
export const task = async (url, signal, say) => {
	const button = byId('sum');
	const file = `${url}&checksum=1`;
	button.ariaBusy = 'true';
	shown.textContent = t('computing');
	button.parentElement?.after(shown);
	say(t('computing'));
	const forget = () => shown.remove();
	// Another image, platform or format is another file.
	signal.addEventListener('abort', forget);
	try {
		const [hash = ''] = (await (await request(file, { signal })).text()).split(' ');
		const code = make('code', { textContent: hash, dir: 'ltr' });
		shown.replaceChildren(code, ' ', make('a', { href: file, textContent: '.sha256' }));
		say(`SHA-256 ${hash}`);
	} catch (error) {
		forget();
		throw error;
	} finally {
		button.ariaBusy = 'false';
	}
};
