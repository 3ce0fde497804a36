import { lang, make } from './page.js';

/** @type {{ texts: Record<string, string> }} */
const { texts } = await import(`./texts-${lang}.js`);

/** A text of the modules that few visitors load. @type {Portal.Text} */
export const say = (key, values = {}) =>
	(texts[key] ?? '').replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) =>
		(values[name] ?? '').toLocaleString(lang),
	);

/** Loads the styles of these modules. */
export const styled = new Promise((resolve) => {
	const href = new URL('more.css', import.meta.url).href;
	document.head.append(make('link', { rel: 'stylesheet', href, onload: resolve, onerror: resolve }));
});
