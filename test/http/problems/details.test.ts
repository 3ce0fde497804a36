import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DETAILS, type Detail, type DetailId, detail, inEnglish } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { LANGUAGES, readWebFolder } from '../../../src/http/web-assets.ts';
import { problemOf, sharedServer } from '../samples.ts';

const { languages } = readWebFolder();
const ids = Object.keys(DETAILS).filter((id) => id !== 'parameter') as DetailId[];
const parametersOf = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

suite('the translations of error details', { timeout: 600_000 }, () => {
  for (const lang of LANGUAGES) {
    test(`have each sentence in ${lang}, with its parameters`, () => {
      const { details } = languages[lang];
      assert.deepEqual(Object.keys(details).sort(), Object.keys(DETAILS).sort());
      assert.deepEqual(parametersOf(details.parameter ?? ''), ['{name}']);
      for (const id of ids) {
        assert.match(details[id] ?? '', /\S[.。…]$/, id);
        assert.deepEqual(parametersOf(details[id] ?? ''), parametersOf(DETAILS[id]), id);
        if (lang !== 'en') assert.notEqual(details[id], DETAILS[id], id);
      }
    });
  }

  async function detailIn(lang: string | undefined, sentences: readonly Detail[], accept = '*/*') {
    const server = await sharedServer(() =>
      Promise.reject(new ServiceError('platform-not-found', sentences)),
    );
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
    assert.doesNotMatch((await detailIn('ru', [odd], 'text/html')).body.toString(), /<script>/);
  });

  test('are the only messages of errors', () => {
    type Message = ConstructorParameters<typeof ServiceError>[1];
    const isTextRefused: string extends Message ? false : true = true;
    assert.ok(isTextRefused, 'the compiler refuses a text without an id');
  });

  test('introduce parameters and join alternatives as the language does', async () => {
    const option = { parameter: 'format' };
    const wrong = detail('option-value', { option, text: '"x"', choices: { anyOf: ['docker', 'oci'] } });
    const both = detail('compress-excludes', { option: { parameter: 'compress' }, other: option });
    const texts = await Promise.all(
      ['en', 'es', 'ru', 'zh', 'fa'].map(async (lang) => problemOf(await detailIn(lang, [wrong])).detail),
    );
    assert.deepEqual(texts, [
      'The parameter format is "x", but must be docker or oci.',
      'El parámetro format tiene el valor "x", pero debe ser docker u oci.',
      'Параметр format имеет значение "x", а допустимы docker или oci.',
      '参数 format 的值是 "x"，但必须是 docker或oci。',
      'مقدار پارامتر \u2068format\u2069 برابر \u2068"x"\u2069 است، اما باید \u2068docker\u2069 یا \u2068oci\u2069 باشد.',
    ]);
    assert.match(inEnglish([both]), /^The parameter compress and the parameter format exclude each other/);
  });

  const refused = [
    '/dl',
    '/dl?myimage=UPPER',
    '/dl?myimage=a&unknown=1',
    '/dl?myimage=a&format=x',
    '/dl?myimage=a&stream=2',
    '/dl?myimage=a&format=docker&format=oci',
    '/dl?myimage=a&part=0&parts=4GiB',
    '/dl?myimage=a&part=1',
    '/dl?myimage=a&parts=x',
    '/dl?myimage=a&parts=1kB',
    '/dl?myimage=a&checksum=1&metalink=1',
    '/dl?myimage=a&referrers=1',
    '/dl?myimage=a&platform=all',
    '/dl?myimage=a&squash=1',
    '/dl?myimage=a&compress=gzip',
    '/dl?myimage=a&compress=gzip&format=rootfs&checksum=1',
    '/dl?myimage=a&myimage=b&format=rootfs',
    '/dl?myimage=a&have=b&format=rootfs',
    '/dl?myimage=a&have=b&format=files',
    `/dl?${'myimage=a&'.repeat(11)}`,
    '/dl/a.zip',
    '/nothing',
    '/v2/'.repeat(2),
    '/api/v1/image',
    '/api/v1/image?myimage=a&myimage=b',
    '/api/v1/image?myimage=',
    '/api/v1/tags?repository=a:1',
    '/api/v1/search?q=a',
  ];
  for (const path of refused) {
    test(`are translated for ${path.slice(0, 60)}`, async () => {
      await using server = await sharedServer();
      const details = new Set<unknown>();
      for (const lang of LANGUAGES)
        details.add(problemOf(await server.get(path, { 'accept-language': lang })).detail);
      assert.equal(details.size, LANGUAGES.length, [...details].join('\n'));
    });
  }

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
