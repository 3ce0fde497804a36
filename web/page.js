/** @type {Portal.ById} */
export const byId = (id) => /** @type {never} */ (document.getElementById(id));

/** @type {Portal.Make} */
export const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** @type {Portal.MakeButton} */
export const makeButton = (textContent, onclick) => make('button', { type: 'button', textContent, onclick });

/** Splits a name so that its lines break after slashes. @param {string} name @returns {(string | Node)[]} */
export const breakable = (name) =>
	name.split(/(?<=\/)/).flatMap((part, at) => (at > 0 ? [make('wbr'), part] : part));

export const { lang } = document.documentElement;

/** @type {Portal.Data} */
export const data = JSON.parse(byId('data').content.textContent ?? '');
