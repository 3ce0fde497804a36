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
	// The short form of bytes has no plural: `3 byte`.
	return exact(bytes / 1000 ** power, UNITS[power], power > 0 ? 'short' : 'long');
};

/** `2,150,400 bytes` @type {Portal.Exact} */
export const exact = (value, unit = 'byte', unitDisplay = 'long') =>
	value.toLocaleString(lang, {
		style: 'unit',
		unit,
		unitDisplay,
		maximumFractionDigits: value < 100 ? 1 : 0,
	});

/** @param {string} time */
export const date = (time) => new Date(time).toLocaleDateString(lang, { dateStyle: 'long' });

/** `1:02:03` @param {number} seconds */
export const clock = (seconds) => {
	const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
	if (!parts[0]) parts.shift();
	return parts.map((part, at) => part.toLocaleString(lang, { minimumIntegerDigits: at ? 2 : 1 })).join(':');
};
