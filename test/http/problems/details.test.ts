import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DETAILS, type Detail, type DetailId, detail, type Sentence } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { LANGUAGES, readWebFolder } from '../../../src/http/web-assets.ts';
import { problemOf, startServer } from '../samples.ts';

const { languages } = readWebFolder();
const ids = Object.keys(DETAILS) as DetailId[];
const parametersOf = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

suite('the translations of error details', { timeout: 600_000 }, () => {
  for (const lang of LANGUAGES) {
    test(`have each sentence in ${lang}, with its parameters`, () => {
      const { details } = languages[lang];
      assert.deepEqual(Object.keys(details).sort(), [...ids].sort());
      for (const id of ids) {
        assert.match(details[id] ?? '', /\S[.。…]$/, id);
        assert.deepEqual(parametersOf(details[id] ?? ''), parametersOf(DETAILS[id]), id);
        if (lang !== 'en') assert.notEqual(details[id], DETAILS[id], id);
      }
    });
  }

  async function detailIn(lang: string | undefined, sentences: readonly Sentence[], accept = '*/*') {
    const open = () => Promise.reject(new ServiceError('platform-not-found', sentences));
    await using server = await startServer({ open });
    return await server.get('/dl?myimage=app', {
      accept,
      ...(lang !== undefined && { 'accept-language': lang }),
    });
  }

  const missing = detail('platform-missing', {
    image: 'docker.io/library/app:1',
    platform: 'linux/arm64',
    platforms: 'linux/amd64, linux/s390x',
  });
  const languagesOfDetail: [lang: string | undefined, text: string][] = [
    [
      undefined,
      'docker.io/library/app:1 is not available for linux/arm64. Available platforms: linux/amd64, linux/s390x.',
    ],
    [
      'en',
      'docker.io/library/app:1 is not available for linux/arm64. Available platforms: linux/amd64, linux/s390x.',
    ],
    [
      'es',
      'docker.io/library/app:1 no está disponible para linux/arm64. Plataformas disponibles: linux/amd64, linux/s390x.',
    ],
    [
      'ru',
      'Образа docker.io/library/app:1 нет для платформы linux/arm64. Доступные платформы: linux/amd64, linux/s390x.',
    ],
    ['zh', 'docker.io/library/app:1 不支持平台 linux/arm64。可用平台：linux/amd64, linux/s390x。'],
    [
      'fa',
      'ایمیج \u2068docker.io/library/app:1\u2069 برای \u2068linux/arm64\u2069 موجود نیست. پلتفرم‌های موجود: \u2068linux/amd64, linux/s390x\u2069.',
    ],
  ];
  for (const [lang, text] of languagesOfDetail) {
    test(`are in the language of Accept-Language: ${lang}`, async () => {
      assert.equal(problemOf(await detailIn(lang, [missing])).detail, text);
    });
  }

  test('are on the HTML page, and not in plain text', async () => {
    const page = (await detailIn('es', [missing], 'text/html')).body.toString();
    assert.match(page, /<code>404: docker\.io\/library\/app:1 no está disponible para linux\/arm64\./);
    const plain = (await detailIn('es', [missing], 'text/plain')).body.toString();
    assert.match(plain, /is not available for linux\/arm64/);
  });

  test('escape what a registry sends', async () => {
    const odd = detail('registry-failed', { host: '<script>' });
    assert.doesNotMatch((await detailIn('ru', [odd], 'text/html')).body.toString(), /<script/);
  });

  test('join translated sentences with English ones', async () => {
    const sentences = [detail('registry-slow', {}), 'The mirrors are down.'];
    const { detail: text } = problemOf(await detailIn('es', sentences));
    assert.equal(text, 'Su registro responde con demasiada lentitud. The mirrors are down.');
  });

  test('write numbers and periods as the language does', async () => {
    const exceeded = detail('requests-exceeded', {
      limit: 3000,
      window: { milliseconds: 60_000 },
      wait: { milliseconds: 33_001 },
    });
    const inLanguage = async (lang: string) => problemOf(await detailIn(lang, [exceeded])).detail;
    assert.match(`${await inLanguage('en')}`, /3,000 requests in 1 minute .* continue in 34 seconds\.$/);
    assert.match(`${await inLanguage('ru')}`, /период: 1 минута .* До продолжения: 34 секунды\.$/);
    assert.match(`${await inLanguage('fa')}`, /۳٬۰۰۰/);
  });

  test('are in English in the message that logs and the command line show', () => {
    const sentences: Detail[] = [
      detail('tag-missing', { repository: 'app', tag: '2' }),
      detail('tags-similar', { tags: '1' }),
    ];
    assert.equal(new ServiceError('tag-not-found', sentences).message, 'app has no tag 2. Similar tags: 1.');
  });
});
