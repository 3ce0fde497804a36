import { ask } from './api.js';
import { byId } from './page.js';
import { size, t } from './text.js';

/** Shows what is left; a service without limits has nothing to tell. */
export const showLimits = async () => {
	const { requests, bytes, downloads } = (await ask('limits').catch(() => null)) ?? {};
	const said = [
		requests && t('requests', { n: requests.remaining, limit: requests.limit }),
		bytes && t('bytes', { n: size(bytes.remaining), limit: size(bytes.limit) }),
		downloads && t('downloads', { n: downloads.active, limit: downloads.limit }),
	];
	byId('limits').textContent = said.filter(Boolean).join(' ');
};

/** Keeps the language that was chosen, and what the page shows with it. */
export const keepLanguage = () => {
	const { lang } = document.documentElement;
	const query = new URLSearchParams(location.search);
	try {
		const kept = localStorage.getItem('lang');
		if (query.has('lang')) localStorage.setItem('lang', lang);
		else if (kept && kept !== lang) location.replace(`?${query}${query.size > 0 ? '&' : ''}lang=${kept}`);
	} catch {
		// Then the browser's language is the one.
	}
	byId('languages').ontoggle = () => {
		for (const link of byId('languages').getElementsByTagName('a')) {
			const there = new URLSearchParams(location.search);
			there.set('lang', link.lang);
			link.search = `${there}`;
		}
	};
};
