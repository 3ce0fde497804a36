import { ask } from './api.js';
import { byId } from './page.js';
import { size, t } from './text.js';

/** Shows the remaining quota of each limit that has a text. */
export const showLimits = async () => {
	const limits = (await ask('limits').catch(() => null)) ?? {};
	const said = Object.entries(limits).map(([name, quota]) => {
		if (!quota) return '';
		const { limit, remaining, active = remaining } = quota;
		const show = name === 'bytes' ? size : Number;
		return t(name, { n: show(active), limit: show(limit) });
	});
	byId('limits').textContent = said.filter(Boolean).join(' ');
};
