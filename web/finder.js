import { ask } from './api.js';
import { date, size, t } from './text.js';

/** @type {Portal.Find} */
export const find = async (text, signal, { search, fill, show }) => {
	const word = /\S*$/.exec(text)?.[0] ?? '';
	const put = (/** @type {string} */ name) => () => fill(text.slice(0, text.length - word.length) + name);
	const [, repository, filter = ''] = /^([^@]*[^@:/]):([\w.-]*)$/.exec(word) ?? [];

	const tags = async (/** @type {Portal.Option[]} */ before, after = '') => {
		const query = { repository: repository ?? '', filter, ...(after && { after }) };
		const { tags: page, details, next, total } = await ask('tags', query, signal);
		const noteOf = (/** @type {string} */ tag) => {
			const { size: bytes, pushed, platforms } = details.find((one) => one.tag === tag) ?? {};
			return [bytes && size(bytes), pushed && date(pushed), platforms?.join(', ')]
				.filter(Boolean)
				.join(' · ');
		};
		const all = [
			...before,
			...page.map((tag) => ({ label: tag, note: noteOf(tag), choose: put(`${repository}:${tag}`) })),
		];
		const more = async () => show(await tags(all, next ?? ''), all.length);
		return next ? [...all, { label: t('more', { n: total - all.length }), choose: more }] : all;
	};
	if (repository) return tags([]);

	// Docker Hub has no names with a host.
	if (!search || !/^[a-z0-9][a-z0-9._/-]+$/.test(word) || /^[^/]*\.[^/]*\//.test(word)) return [];
	const { results } = await ask('search', { q: word }, signal);
	return results.map(({ name, description, official }) => ({
		label: name,
		// Isolates the text direction of the name.
		note: (official ? `${t('official')} · ` : '') + (description && `\u2068${description}\u2069`),
		choose: put(name),
	}));
};
