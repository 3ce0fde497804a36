/** `A=b`, `ARG A=b`, `$env:A = "b"`, `A: b`, `--build-arg A=b`. */
const ASSIGNMENT =
	/(?:^|[;\n])[ \t]*(?:[-+] )?(?:(?:export|ARG|ENV|set|local|readonly)[ \t]+|\$env:|\$)?["']?([A-Za-z_]\w*)["']?(?:[ \t]*=[ \t]*|:[ \t]+)(?:["']([^"'\n]*)["']|([^\s"';#]+))|--build-arg[= ]([A-Za-z_]\w*)=["']?([^\s"']+)/g;
/** `$A`, `$env:A`, `${A:-b}`, `%A%`, and in GitHub's workflows and templates of Helm `${{ env.A }}`, `{{ .a | default "b" }}`. */
const VARIABLE =
	/\$\{\{\s*(?:env|vars|inputs)\.(\w+)\s*\}\}|\$\{(\w+)(?::?[-=]([^{}]*)|:?\?[^{}]*)?\}|\$(?:env:)?(\w+)|%(\w+)%|\{\{-?[^{}]{0,200}?default\s+["']?([\w.:/-]+)["']?[^{}]{0,200}\}\}/g;
/** Variables without a known value, and placeholders of documentation. */
const UNKNOWN =
	/\$\([^()]*\)|\{\{[^{}]*\}\}|\$\{[^{}]*\}\}?|\$\w+|%\w+%|(?<=[:@/])<[^<>\n]*>|(?<=[:@])\[[\w -]+\]/g;
/** No name is longer, and longer values could fill the memory. */
const VALUE_MAX = 500;
/** Characters of all values together. A variable may contain itself many times. */
const VALUES_MAX = 1_000_000;

/** Puts values of variables, or their defaults, where the text uses them, and `<>` for unknown values. @param {string} text */
export const withValues = (text) => {
	/** @type {Map<string, string>} */
	const values = new Map();
	let left = VALUES_MAX;
	const expanded = (/** @type {string} */ part) =>
		part.replace(VARIABLE, (whole, secret, braced, otherwise, named, percent, template) => {
			const name = secret ?? braced ?? named ?? percent;
			const value = name === undefined ? template : (values.get(name) ?? otherwise);
			left -= value?.length ?? 0;
			return left < 0 ? whole : (value ?? whole);
		});
	for (const [, name, quoted, bare, argument, given] of text.matchAll(ASSIGNMENT)) {
		const value = expanded(quoted ?? bare ?? given ?? '');
		if (value.length <= VALUE_MAX) values.set(name ?? argument ?? '', value);
	}
	// A default may contain another variable, which is replaced first.
	return expanded(expanded(text)).replace(UNKNOWN, '<>');
};
