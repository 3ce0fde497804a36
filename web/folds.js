import { session } from './api.js';
import { byId, data, make } from './page.js';
import { t } from './text.js';

/**
 * Loads the module of a fold-out when it is opened, once for what it shows.
 *
 * @type {Portal.OnOpen}
 */
const onOpen = (fold, fill) => {
	const open = async () => {
		if (!fold.open) return;
		fold.ontoggle = null;
		const box = make('div');
		fold.append(box);
		await fill(box).catch((error) => error.name === 'AbortError' || box.append(t('failed')));
	};
	fold.ontoggle = open;
	open();
};

const [details, inside] = [byId('details'), byId('inside')];
let offered = '';
let showing = new AbortController();

/** Empties the fold-outs of an image. */
export const withdraw = () => {
	showing.abort();
	showing = new AbortController();
	offered = '';
	for (const fold of [details, inside]) fold.ontoggle = null;
	inside.querySelector(':scope > div')?.remove();
	details.querySelector(':scope > div + div')?.remove();
};

/** Offers what a single image has inside and beside it. @type {Portal.Offer} */
export const offer = (image, platform) => {
	const query = { myimage: image?.pinned ?? image?.name ?? '', ...(platform && { platform }) };
	// The pinned name of a platform would leave out the referrers of the index.
	const named = { ...query, myimage: image?.name ?? '' };
	const asked = JSON.stringify([query, named, session.headers]);
	inside.hidden = data.prepares || image?.kind !== 'image';
	// Another format has the same files.
	if (asked === offered) return;
	withdraw();
	if (!image || data.prepares) return;
	offered = asked;
	const { signal } = showing;
	onOpen(details, async (box) => (await import('./referrers.js')).show(box, named, signal));
	if (!inside.hidden) onOpen(inside, async (box) => (await import('./inside.js')).show(box, query, signal));
};

const own = byId('private');
if (own) onOpen(own, async (box) => (await import('./private.js')).show(box));
