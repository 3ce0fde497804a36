import { byId } from './page.js';

/** @type {HTMLInputElement[]} */
const fields = [...byId('advanced').querySelectorAll('input[name]')].map(
	(field) => /** @type {never} */ (field),
);

/** Shows the fields for a format. @type {Portal.FitExtras} */
export const fitExtras = (format) => {
	for (const field of fields) {
		const label = field.closest('label');
		if (label) label.hidden = !label.dataset.formats?.split(' ').includes(format);
	}
};

/** @type {Portal.ReadExtras} */
export const readExtras = () =>
	fields.flatMap((field) => {
		const { name, type, checked, value } = field;
		if (field.closest('label')?.hidden || (type === 'checkbox' && !checked)) return [];
		return value.split(/[\s,]+/).flatMap((one) => (one ? [{ name, value: one }] : []));
	});

/** @param {URLSearchParams} query */
export const fillExtras = (query) => {
	for (const field of fields) {
		const values = query.getAll(field.name);
		if (field.type === 'checkbox') field.checked = values.includes(field.value);
		else field.value = values.join(' ');
	}
};

/** @param {() => void} changed */
export const onExtras = (changed) => {
	for (const field of fields) field.onchange = changed;
};
