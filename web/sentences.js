/** Which sentence tells of which codes. */
const SENTENCES = {
	limited: /^overloaded|-busy$/,
	offline: /^offline/,
	invalid: /^(?:reference|parameter|url)-/,
	platform: /^platform-/,
	forbidden: /not-allowed$|^(?:address|signature)-/,
	large: /-too-large$/,
	missing: /^image-not-found/,
	artifact: /^not-an-image|^manifest-|layer/,
	engine: /^engine-/,
	registry: /^(?:registry|content)-/,
};

/** @type {Portal.SentenceOf} */
export const sentenceOf = (code, status) =>
	Object.entries(SENTENCES).find(
		([name, codes]) => (name === 'limited' && status === 429) || codes.test(code),
	)?.[0] ?? 'internal';
