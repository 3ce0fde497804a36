import { data, lang } from './page.js';

/** @type {Portal.Text} */
export const t = (key, values = {}) =>
	(data.strings[key] ?? '').replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) =>
		(values[name] ?? '').toLocaleString(lang),
	);

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

/** `2.2 MB` @param {number} bytes */
export const size = (bytes) => {
	const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 4);
	return exact(bytes / 1000 ** power, UNITS[power], true);
};

/** @param {number} value */
export const exact = (value, unit = 'byte', isShort = false) => {
	const unitDisplay = isShort ? 'short' : 'long';
	return value.toLocaleString(lang, {
		style: 'unit',
		unit,
		unitDisplay,
		maximumFractionDigits: value < 100 ? 1 : 0,
	});
};

/** @param {string} time */
export const date = (time) => new Date(time).toLocaleDateString(lang, { dateStyle: 'long' });

/** @param {number} seconds */
export const duration = (seconds) =>
	seconds < 60 ? exact(seconds, 'second') : exact(Math.ceil(seconds / 60), 'minute');
