import { byId, make, makeButton } from './page.js';
import { clock, t } from './text.js';

/** @type {Portal.ShowCandidates} */
export const showCandidates = (candidates, choose) => {
	const chips = make('p', { className: 'chips' });
	chips.append(...candidates.map((name) => makeButton(name.replace(/:$/, ':…'), () => choose(name))));
	byId('problem').replaceChildren(make('h2', { textContent: t('ambiguous') }), chips);
	byId('problem').hidden = false;
	return t('ambiguous');
};

/** @type {Portal.ShowProblem} */
export const showProblem = (problem, { retry, choose, chooseTag }) => {
	const {
		title = t('failed'),
		help = '',
		detail = '',
		platforms = [],
		similarTags = [],
		status,
		retryAfter,
	} = problem;
	const section = byId('problem');
	const chips = make('p', { className: 'chips' });
	section.replaceChildren(
		make('h2', { textContent: title }),
		make('p', { textContent: help }),
		make('code', { textContent: detail, dir: 'auto' }),
		chips,
	);
	chips.append(...platforms.map((name) => makeButton(name, () => choose(name))));
	chips.append(...similarTags.map((tag) => makeButton(tag, () => chooseTag(tag))));
	const again = makeButton(t('again'), retry);
	const timer = make('p', { role: 'timer' });
	if (retryAfter || !status || status >= 500) chips.append(again);
	const close = () => {
		section.hidden = true;
	};
	if (section.classList.contains('over')) chips.append(makeButton(t('close'), close));
	if (retryAfter) section.append(timer);
	const end = Date.now() + (retryAfter ?? 0) * 1000;
	const tick = () => {
		const left = Math.ceil((end - Date.now()) / 1000);
		again.disabled = left > 0;
		// Keep the height of the line.
		timer.textContent = left > 0 ? t('wait', { time: clock(left) }) : '\xa0';
		if (left > 0 && timer.isConnected) setTimeout(tick, 250);
	};
	tick();
	section.hidden = false;
	section.scrollIntoView({ block: 'nearest' });
	return title;
};
