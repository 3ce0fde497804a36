import { request } from './api.js';
import { byId } from './page.js';
import { t } from './text.js';
import { showSums } from './view.js';

/** Has the checksum of a download computed, which may take long, and shows how to compare it. @type {Portal.Task} */
export const task = async (url, signal, say) => {
	const button = byId('sum');
	button.ariaBusy = 'true';
	say(t('computing'));
	try {
		const answer = await request(url, { signal });
		const sums = (await answer.text()).trim().split('\n');
		signal.throwIfAborted();
		showSums(sums);
		say(`SHA-256 ${sums[0]?.split(' ')[0]}`);
	} finally {
		button.ariaBusy = 'false';
	}
};
