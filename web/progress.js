import { Refusal } from './api.js';
import { byId } from './page.js';
import { size, t } from './text.js';

/** @type {Portal.Watch} */
export const watch = (url) =>
	new Promise((/** @type {() => void} */ resolve, reject) => {
		const bar = byId('bar');
		byId('progress').hidden = false;
		const events = new EventSource(url.replace('/dl?', '/dl/status?'));
		const on = (/** @type {string} */ name, /** @type {(data: any) => string | void} */ told) =>
			events.addEventListener(name, ({ data }) => {
				bar.removeAttribute('value');
				byId('stage').textContent = told(JSON.parse(data ?? '{}')) ?? '';
			});
		on('queued', ({ ahead }) => t('queued', { n: ahead }));
		on('pulling', ({ layers }) => {
			let [done, total] = [0, 0];
			for (const layer of layers) {
				done += layer.current ?? 0;
				total += layer.total ?? 0;
			}
			if (total > 0) bar.value = done / total;
			return t('pulling', { done: size(done), total: size(total) });
		});
		on('saving', ({ bytes }) => t('saving', { done: size(bytes) }));
		// Left open, it would begin again by itself, and the engine with it.
		on('ready', () => {
			events.close();
			bar.value = 1;
			resolve();
			location.href = url;
			return t('ready');
		});
		on('error', (problem) => {
			events.close();
			reject(new Refusal(problem));
		});
	});
