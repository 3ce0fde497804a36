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
	addEventListener('DOMContentLoaded', () => {
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
	});
}
