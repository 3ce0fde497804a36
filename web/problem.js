import { sentenceOf } from './sentences.js';
import { duration, t } from './text.js';
import { byId, make, makeButton } from './view.js';

/** @type {Portal.ShowProblem} */
export const showProblem = ({ code = '', detail = '', status, retryAfter }, { retry, choose }) => {
	const known = sentenceOf(code, status);
	const [title = '', advice = ''] = t(`! ${known}`).split(' | ');
	const section = byId('problem');
	const chips = make('p', { className: 'chips' });
	section.replaceChildren(
		make('h2', { textContent: title }),
		make('p', { textContent: advice }),
		make('code', { textContent: detail, lang: 'en', dir: 'ltr' }),
		chips,
	);
	section.hidden = false;
	const [, there = ''] = known === 'platform' ? detail.split('; there is ') : [];
	for (const [platform] of there.matchAll(/[a-z]+\/[\w/]+/g))
		chips.append(makeButton(platform, () => choose(platform)));
	if (!retryAfter && !/registry|engine|internal|offline/.test(known)) return title;
	const again = makeButton(t('again'), retry);
	chips.append(again);
	const timer = make('p', { role: 'timer' });
	section.append(timer);
	const end = Date.now() + (retryAfter ?? 0) * 1000;
	const tick = () => {
		const left = Math.ceil((end - Date.now()) / 1000);
		again.disabled = left > 0;
		timer.textContent = left > 0 ? t('wait', { time: duration(left) }) : '';
		if (left > 0 && timer.isConnected) setTimeout(tick, 250);
	};
	tick();
	return title;
};
