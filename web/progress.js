import { peek, unreachable } from './api.js';
import { byId } from './page.js';
import { size, t } from './text.js';

let watching = new AbortController();

/** The other parameters change nothing about the work. @param {string} url */
const statusOf = (url) => {
	const { origin, searchParams } = new URL(url);
	const kept = [...searchParams].filter(([name]) => /^(?:myimage|platform|format)$/.test(name));
	return `${origin}/dl/status?${new URLSearchParams(kept)}`;
};

/** Follows an archive whose first byte takes time, and downloads it when it is ready. @type {Portal.Task} */
export const task = (url, signal) =>
	new Promise((resolve, reject) => {
		watching.abort();
		watching = new AbortController();
		const status = statusOf(url);
		const events = new EventSource(status);
		const bar = byId('bar');
		const end = () => events.close();
		AbortSignal.any([signal, watching.signal]).addEventListener('abort', end);
		const on = (/** @type {string} */ name, /** @type {(told: any) => string | void} */ say) =>
			events.addEventListener(name, ({ data }) => {
				byId('progress').hidden = false;
				bar.removeAttribute('value');
				byId('stage').textContent = say(data && JSON.parse(data)) ?? '';
			});
		on('queued', ({ ahead }) => t('queued', { n: ahead }));
		for (const stage of ['pulling', 'reading'])
			on(stage, ({ layers }) => {
				let [done, total] = [0, 0];
				for (const layer of layers) {
					done += layer.current ?? 0;
					total += layer.total ?? 0;
				}
				if (total > 0) bar.value = done / total;
				return t('pulling', { done: size(done), total: size(total) });
			});
		on('saving', ({ bytes }) => t('saving', { done: size(bytes) }));
		// An open event source would reconnect, and start the engine's work again.
		on('ready', () => {
			end();
			bar.value = 1;
			location.href = url;
			resolve();
			return t('ready');
		});
		on('error', (problem) => {
			end();
			if (problem) return reject(new Error('', { cause: problem }));
			// The error event does not contain the refusal.
			peek(status, signal)
				.then(() => unreachable())
				.catch(reject);
		});
	});
