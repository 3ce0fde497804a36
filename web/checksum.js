import { Refusal, request } from './api.js';
import { byId, make } from './page.js';
import { showProblem } from './problem.js';
import { t } from './text.js';

const shown = make('p', { className: 'hint', dir: 'auto' });
let asked = new AbortController();
const forget = () => {
	asked.abort();
	shown.remove();
};
// Another image, platform or format is another file.
new MutationObserver(forget).observe(byId('download'), { attributeFilter: ['href'] });

/** @type {Portal.ShowChecksum} */
export const showChecksum = async (url, say) => {
	forget();
	asked = new AbortController();
	const { signal } = asked;
	const button = byId('sum');
	button.ariaBusy = 'true';
	shown.textContent = t('computing');
	button.parentElement?.after(shown);
	say(t('computing'));
	try {
		const [hash = ''] = (await (await request(`${url}&checksum=1`, { signal })).text()).split(' ');
		byId('problem').hidden = true;
		shown.replaceChildren(
			make('code', { textContent: hash, dir: 'ltr' }),
			' ',
			make('a', { href: `${url}&checksum=1`, textContent: '.sha256' }),
		);
		say(`SHA-256 ${hash}`);
	} catch (error) {
		if (signal.aborted) return;
		shown.remove();
		const told = error instanceof Refusal ? error.problem : {};
		const retry = () => showChecksum(url, say);
		say(showProblem(told, { retry, choose: retry }));
	} finally {
		button.ariaBusy = 'false';
	}
};
