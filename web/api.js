import { t } from './text.js';

/** @type {Portal.Ask} */
export const ask = async (name, query, signal) => {
	const url = `/api/v1/${name}?${new URLSearchParams(query)}`;
	return (await request(url, { ...(signal && { signal }) })).json();
};

/** The credentials of the visitor, in the memory of this tab alone. @type {Portal.Session} */
export const session = { headers: {}, commands: (lines) => lines, post: undefined };

/** @type {Portal.Request} */
export const request = async (url, options) => {
	const headers = { accept: 'application/json', ...session.headers };
	const response = await fetch(url, { headers, ...options }).catch(unreachable);
	if (response.ok) return response;
	const retryAfter = Number(response.headers.get('retry-after'));
	const problem = await response.json().catch(() => ({}));
	throw new Error('', { cause: { retryAfter, ...problem, status: response.status } });
};

/** @type {Portal.Peek} */
export const peek = async (url, signal) => {
	const { headers } = await request(url, { method: 'HEAD', signal }).catch(async () => {
		// A HEAD response has no body, so GET the reason for the refusal.
		const answer = await request(url, { signal });
		answer.body?.cancel();
		return answer;
	});
	return headers;
};

/** @type {Portal.Unreachable} */
export const unreachable = (error) => {
	if (error?.name === 'AbortError') throw error;
	throw new Error('', { cause: { code: 'offline', title: t('offline'), help: t('offlineHelp') } });
};
