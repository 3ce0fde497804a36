import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../../src/errors/details.ts';
import { type ErrorCode, listErrors, ServiceError } from '../../../src/errors.ts';
import { textOf } from '../../../src/http/problems/translations.ts';
import { LANGUAGES, readWebFolder } from '../../../src/http/web-assets.ts';
import { problemOf, sharedServer } from '../samples.ts';

const { languages } = readWebFolder();
/** Texts of the page of a problem itself. */
const OWN = ['wait', 'again', 'back'];

function failing(code: ErrorCode): () => Promise<never> {
  const sentence = detail('image-unknown', { image: 'busybox' });
  return () => Promise.reject(new ServiceError(code, sentence, { retryAfter: 125 }));
}

suite('errors explained to people', { timeout: 600_000 }, () => {
  for (const lang of LANGUAGES) {
    test(`every error has a title and help in ${lang}, and every text has its error`, () => {
      const { problems } = languages[lang];
      const told = new Set(listErrors().map(({ code }) => textOf(code)));
      assert.deepEqual(Object.keys(problems).sort(), [...told, ...OWN].sort());
      for (const code of told) assert.match(problems[code] ?? '', /^[^|]+[.。] \| [^|]+[.。]$/, code);
    });
  }

  /** Pairs of errors that are easily confused, with a word that only the right sentence has. */
  const distinct: [ErrorCode, RegExp][] = [
    ['too-many-requests', /too many requests/],
    ['too-many-downloads', /too many downloads/],
    ['too-many-connections', /too many connections/],
    ['daily-bytes-used', /data for today/],
    ['service-full', /not yours/],
    ['registry-rate-limited', /registry's, not yours/],
    ['signature-required', /not signed/],
    ['signature-invalid', /no valid signature/],
    ['platform-invalid', /not a platform/],
    ['platform-not-found', /not available for this platform/],
    ['parameter-unknown', /named below/],
    ['archive-not-kept', /no checksum/],
    ['address-refused', /not public/],
    ['client-not-allowed', /not open to you/],
  ];
  test('different remedies have different sentences', async () => {
    const seen = new Set<string>();
    for (const [code, word] of distinct) {
      await using server = await sharedServer(failing(code));
      const { title, help } = problemOf(
        await server.get('/dl?myimage=busybox', { 'accept-language': 'en-GB' }),
      );
      assert.match(`${title} ${help}`, word, code);
      assert.equal(seen.has(title), false, title);
      seen.add(title);
    }
  });

  const asked: [accept: string | undefined, title: string][] = [
    [undefined, 'Daily bytes used up'],
    ['*', 'Daily bytes used up'],
    ['tlh', 'Daily bytes used up'],
    ['en', 'You have used up your data for today.'],
    ['de, ru;q=0.5, en;q=0.2', 'Вы исчерпали трафик на сегодня.'],
    ['fa-IR', 'حجم امروز شما تمام شده است.'],
    ['zh-TW', '你今天的流量已用完。'],
    ['es', 'Has agotado tus datos de hoy.'],
  ];
  for (const [accept, title] of asked) {
    test(`Accept-Language: ${accept} results in: ${title}`, async () => {
      await using server = await sharedServer(failing('daily-bytes-used'));
      const headers = accept === undefined ? {} : { 'accept-language': accept };
      const answer = await server.get('/dl?myimage=busybox', headers);
      const problem = problemOf(answer);
      assert.equal(problem.title, title);
      assert.equal(answer.header('vary'), 'accept, accept-language, cookie');
      assert.equal(answer.reason, 'Daily bytes used up', 'the reason phrase is ASCII');
    });
  }

  test('a language that was chosen on the page comes first', async () => {
    await using server = await sharedServer(failing('daily-bytes-used'));
    const headers = { 'accept-language': 'en', cookie: 'lang=es' };
    const { title } = problemOf(await server.get('/dl?myimage=busybox', headers));
    assert.equal(title, 'Has agotado tus datos de hoy.');
  });

  test('progress events have the same texts', async () => {
    await using server = await sharedServer(failing('daily-bytes-used'));
    const answer = await server.get('/dl/status?myimage=busybox', { 'accept-language': 'es' });
    assert.match(answer.body.toString(), /^event: error\ndata: .*Has agotado tus datos de hoy\./m);
  });
});

suite('the page of a problem', { timeout: 600_000 }, () => {
  const html = (lang: string) => ({ accept: 'text/html', 'accept-language': lang });

  test('looks like the portal, is in the language of the browser, and says how long to wait', async () => {
    await using server = await sharedServer(failing('daily-bytes-used'));
    const portal = (await server.get('/')).body.toString();
    const [style = 'none'] = /<link rel="stylesheet"[^>]*>/.exec(portal) ?? [];
    for (const [lang, dir, wait] of [
      ['en', 'ltr', 'You can try again in 3 minutes.'],
      ['ru', 'ltr', 'До повтора: 3 минуты.'],
      ['fa', 'rtl', '۳ دقیقه دیگر می‌توانید دوباره تلاش کنید.'],
    ] as const) {
      const page = (await server.get('/dl?myimage=busybox', html(lang))).body.toString();
      assert.match(page, new RegExp(`<html lang="${lang}" dir="${dir}">`));
      assert.ok(page.includes(style), page);
      assert.ok(page.includes(wait), page);
      assert.ok(page.includes('<a class="button" href="">'), 'one can try again');
      assert.match(page, /<p dir="auto"><code>429: .*busybox.*<\/code>/);
    }
  });

  test('permanent errors cannot be tried again', async () => {
    await using server = await sharedServer();
    const page = (await server.get('/dl?myimage=UPPER', html('en'))).body.toString();
    assert.doesNotMatch(page, /href=""|You can try again/);
  });

  const links: [path: string, link: string][] = [
    ['/dl?myimage=busybox', '/?image=busybox'],
    [
      '/dl?myimage=busybox&myimage=a/b:1&platform=linux/arm64',
      '/?image=busybox&image=a/b:1&platform=linux/arm64',
    ],
    ['/dl?myimage=busybox&format=oci&stream=1', '/?image=busybox&format=oci'],
    ['/dl/ghcr.io/org/app:1.2.tar', '/?image=ghcr.io/org/app:1.2'],
    ['/dl/busybox.tar.sha256?platform=linux/arm64', '/?image=busybox&platform=linux/arm64'],
    ['/dl?myimage=docker+pull+"a"', '/?image=docker pull "a"'],
    ['/dl', '/'],
    ['/NOTHING?myimage=busybox', '/'],
    ['/dl/%.tar', '/'],
  ];
  for (const [path, link] of links) {
    test(`${path} links back to ${link}`, async () => {
      await using server = await sharedServer(failing('image-not-found'));
      const page = (await server.get(path, html('en'))).body.toString();
      const [, href = ''] = /<a class="primary" href="([^"]*)"/.exec(page) ?? [];
      assert.equal(decodeURIComponent(href.replaceAll('&amp;', '&').replaceAll('+', ' ')), link);
      assert.equal((await server.get(href.replaceAll('&amp;', '&'))).status, 200);
    });
  }
});
