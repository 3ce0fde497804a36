import { ask } from './api.js';
import { say, styled } from './more.js';
import { make } from './page.js';
import { date, size } from './text.js';

/** Shows the signatures, SBOMs, and attestations of an image, with their downloads. @type {Portal.Fill} */
export const show = async (box, query, signal) => {
	await styled;
	box.className = 'beside';
	box.textContent = say('looking');
	const { referrers, complete } = await ask('referrers', query, signal);
	const list = make('ul', { className: 'chips' });
	for (const { kinds, artifactType, size: bytes, downloadUrl, annotations, digest } of referrers) {
		const name = kinds.map((kind) => say(kind)).join(' + ');
		const created = annotations['org.opencontainers.image.created'];
		const link = make('a', { href: downloadUrl, textContent: name });
		link.title = [artifactType, size(bytes), created && date(created), digest].filter(Boolean).join(' · ');
		const item = make('li');
		item.append(link);
		list.append(item);
	}
	const note = referrers[0] ? say('unverified') : say('nothing');
	const hint = make('p', {
		className: 'hint',
		textContent: complete ? note : `${note} ${say('incomplete')}`,
	});
	box.replaceChildren(make('h3', { textContent: say('beside') }), ...(referrers[0] ? [list] : []), hint);
};
