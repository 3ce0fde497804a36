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
		// The next element proves that the parser has all options. Some pages lack it.
		const isParsed = select?.nextElementSibling || document.readyState !== 'loading';
		if (!isParsed) return;
		parsing.disconnect();
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
	// Later events can follow the first frame, in which the choice must already have its width.
	const parsing = new MutationObserver(show);
	parsing.observe(document, { childList: true, subtree: true });
}
