// A script of the document's head, because the theme must be known before the first frame.
{
	const { dataset } = document.documentElement;
	const read = () => {
		try {
			return localStorage.getItem('theme') ?? 'auto';
		} catch {
			return 'auto';
		}
	};
	dataset.theme = read();
	const show = () => {
		const select = /** @type {HTMLSelectElement | null} */ (document.getElementById('theme'));
		if (!select) return;
		select.value = read();
		select.onchange = () => {
			dataset.theme = select.value;
			try {
				localStorage.setItem('theme', select.value);
			} catch {
				// Private windows may refuse.
			}
		};
	};
	// DOMContentLoaded would wait for the modules.
	document.addEventListener('readystatechange', show, { once: true });
}
