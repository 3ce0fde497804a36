import { sentenceOf } from './sentences.js';
import { duration, t } from './text.js';
import { byId, make } from './view.js';

/** @type {Portal.ShowProblem} */
export const showProblem = ({ code = '', detail = '', status, retryAfter }, { retry, choose }) => {
  const known = sentenceOf(code, status);
  const [title = '', advice = ''] = t(`! ${known}`).split(' | ');
  const section = byId('problem');
  const chips = make('p', { className: 'chips' });
  const button = (/** @type {string} */ textContent, /** @type {() => void} */ onclick) => {
    const made = make('button', { type: 'button', textContent, onclick });
    chips.append(made);
    return made;
  };
  section.replaceChildren(
    make('h2', { textContent: title }),
    make('p', { textContent: advice }),
    make('code', { textContent: detail, lang: 'en', dir: 'ltr' }),
    chips,
  );
  section.hidden = false;
  const [, there = ''] = known === 'platform' ? detail.split('; there is ') : [];
  for (const [platform] of there.matchAll(/[a-z]+\/[\w/]+/g)) button(platform, () => choose(platform));
  if (!retryAfter && !/registry|engine|internal|offline/.test(known)) return title;
  const again = button(t('again'), retry);
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
