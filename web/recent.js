/** Latest first. @returns {string[]} */
export const recall = () => {
	try {
		return JSON.parse(localStorage.getItem('recent') ?? '').map(String);
	} catch {
		return [];
	}
};

/** @param {string[]} names */
export const remember = (...names) => {
	const all = names.length > 0 ? [...new Set([...names, ...recall()])] : [];
	try {
		localStorage.setItem('recent', JSON.stringify(all.slice(0, 6)));
	} catch {
		// Private windows may refuse.
	}
};
