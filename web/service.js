import { ask } from './api.js';
import { byId } from './page.js';
import { size, t } from './text.js';

/** Shows what is left, where there are limits. */
export const showLimits = async () => {
	const { requests, bytes, downloads } = (await ask('limits').catch(() => null)) ?? {};
	const said = [
		requests && t('requests', { n: requests.remaining, limit: requests.limit }),
		bytes && t('bytes', { n: size(bytes.remaining), limit: size(bytes.limit) }),
		downloads && t('downloads', { n: downloads.active, limit: downloads.limit }),
	];
	byId('limits').textContent = said.filter(Boolean).join(' ');
};
