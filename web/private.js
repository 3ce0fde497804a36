import { session } from './api.js';
import { quoted } from './commands.js';
import { say, styled } from './more.js';
import { byId, make, makeButton } from './page.js';
import { fullName, parsePaste } from './paste.js';

/** A field of a form that stays in this tab. @type {(type: string, text: string, value?: string) => HTMLLabelElement} */
const field = (type, text, value = '') => {
	const label = make('label', { textContent: text });
	label.append(make('input', { type, value, required: true, autocomplete: 'off', dir: 'ltr' }));
	return label;
};

/** @type {(label: HTMLLabelElement) => string} */
const textOf = (label) => label.querySelector('input')?.value ?? '';

/** Asks for credentials, and keeps them in the memory of this tab. @type {(box: HTMLElement) => Promise<void>} */
export const show = async (box) => {
	await styled;
	const { images } = await parsePaste(byId('image').value, location.host);
	const [host = ''] = fullName(images[0] ?? '').split('/');
	const registry = field('text', say('registry'), host || 'docker.io');
	const [user, token] = [field('text', say('user')), field('password', say('token'))];
	const form = make('form', { className: 'private' });
	const state = make('p', { className: 'hint', role: 'status', textContent: say('private') });
	const use = make('button', { className: 'primary', textContent: say('use') });
	const forget = makeButton(say('forget'), () => {
		keep(undefined);
		form.reset();
		state.textContent = say('forgotten');
	});
	form.append(registry, user, token, use, forget, state);
	form.onsubmit = (event) => {
		event.preventDefault();
		const host = textOf(registry).trim().toLowerCase();
		keep({ host, user: textOf(user), password: textOf(token) });
		state.textContent = say('used', { registry: host });
		if (byId('image').value.trim()) byId('form').requestSubmit();
	};
	box.replaceChildren(form);
	document.addEventListener('click', download, true);
};

/** @type {(credentials: Portal.Credentials) => string} */
const nameOf = ({ host, user }) => `${host}/${user}`;

/** @param {Portal.Credentials | undefined} credentials */
const keep = (credentials) => {
	session.headers = credentials ? { authorization: basic(credentials) } : {};
	session.commands = credentials ? withUser(credentials) : (lines) => lines;
	session.post = credentials && postWith(credentials);
};

/** @type {(credentials: Portal.Credentials) => string} */
const basic = (credentials) => {
	const bytes = new TextEncoder().encode(`${nameOf(credentials)}:${credentials.password}`);
	return `Basic ${btoa(String.fromCharCode(...bytes))}`;
};

/** Each command asks for the password, so that no shell stores it. @type {Portal.WithUser} */
const withUser = (credentials) => (lines) => {
	const [user, login] = [quoted(credentials.user), quoted(nameOf(credentials))];
	const change = (/** @type {string} */ tool, /** @type {string} */ line) => {
		// aria2c cannot ask.
		if (tool === 'aria2c') return '';
		if (tool === 'ctr image pull') return line.replaceAll('pull ', () => `pull --user ${login} `);
		if (tool.endsWith(' pull'))
			return `${tool.replace('pull', 'login')} -u ${login} ${location.host}\n${line}`;
		return line
			.replace(/\bwget -/g, () => `wget --auth-no-challenge --user=${user} --ask-password -`)
			.replace(/\b(curl(?:\.exe)?) -/g, (_, curl) => `${curl} -u ${user} -`);
	};
	const changed = Object.entries(lines).map(([tool, line]) => [tool, change(tool, line)]);
	return Object.fromEntries(changed.filter(([, line]) => line));
};

/** @type {(credentials: Portal.Credentials) => (url: string) => void} */
const postWith = (credentials) => (url) => {
	const form = make('form', { method: 'post', action: url, hidden: true });
	const hidden = (/** @type {string} */ name, /** @type {string} */ value) =>
		make('input', { type: 'hidden', name, value });
	form.append(hidden('user', nameOf(credentials)), hidden('password', credentials.password));
	document.body.append(form);
	form.submit();
	form.remove();
};

/** Sends each download with the credentials: the image, its parts, and what is beside it. @param {Event} event */
const download = (event) => {
	const link = event.target instanceof Element ? event.target.closest('a') : null;
	if (!session.post || !link?.href.startsWith(`${location.origin}/dl`)) return;
	event.preventDefault();
	session.post(link.href);
};
