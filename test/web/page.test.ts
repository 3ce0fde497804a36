import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { downloadUrl, fetchCommands } from '../../web/commands.js';
import { expectedArchive } from '../support/expected-archive.ts';
import { image as imageOf, sha256 as sha256Of } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startBed } from './bed.ts';
import {
  assertAccessible,
  assertFits,
  boxOf,
  enter,
  OUTPUT,
  openUntil,
  PLAIN_HOST,
  sha256Of as sha256OfFile,
  untilReady,
  untilShown,
  usePage,
} from './browser.ts';

suite('the page in Chromium', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open, openImage } = usePage(async (bed) => {
    const { registry, images } = bed;
    for (let at = 0; at < 60; at++) await push(registry.url, 'test/many', `1.${at}`, images.shared1);
  });
  const image = (name: string): string => `image=${bed().registry.host}/${name}`;
  const busybox = (): string => `/?${image('library/busybox')}`;
  const download = async (page: Page, how: () => Promise<void>): Promise<[name: string, sha256: string]> => {
    const started = page.waitForEvent('download');
    await how();
    const saved = await started;
    return [saved.suggestedFilename(), await sha256OfFile(saved)];
  };

  const ways: [name: string, options: BrowserContextOptions][] = [
    ['on a desk', {}],
    ['in the dark', { colorScheme: 'dark' }],
    ['from right to left', { locale: 'fa-IR' }],
    ['on 320 px', { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }],
  ];
  for (const [way, options] of ways) {
    test(`from typing to a file on the disk whose bytes are right, ${way}`, async (t) => {
      const page = await open(t, '/', options);
      await page.locator('#image').pressSequentially(`${bed().busybox}:1.3`);
      await page.getByRole('option', { name: '1.36.1' }).click();
      await untilShown(page);
      await page.locator('#image').fill(bed().busybox);
      await page.locator('#names', { hasText: `${bed().busybox}:latest` }).waitFor();
      await page.locator('#form button').click();
      await page.locator('h2', { hasText: `${bed().busybox}:latest` }).waitFor();
      const [name, sha256] = await download(page, () => page.locator('#download').click());
      assert.equal(name, 'busybox.tar');
      const expected = expectedArchive(`${bed().busybox}:latest`, bed().images.busyboxAmd64);
      assert.equal(`sha256:${sha256}`, sha256Of(expected));
      await assertFits(page);
    });
  }

  test('the card tells what the image is', async (t) => {
    const [base] = bed().images.shared1.layers;
    assert.ok(base);
    const config = { Entrypoint: ['/bin/sh', '-c'], Cmd: ["echo it's"] };
    const platform = { os: 'linux', architecture: 'amd64' };
    const made = imageOf({ platform, layers: [...bed().images.shared1.layers], config });
    const name = `${bed().registry.host}/test/card:1.2`;
    await push(bed().registry.url, 'test/card', '1.2', made);
    const page = await openImage(t, `/?image=${name}`);
    await page.getByText('Details', { exact: true }).click();
    const { length } = expectedArchive(name, made);
    const packed = made.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const shown = await page
      .locator('[data-is]')
      .evaluateAll((fields) =>
        fields.map((field) => [field.getAttribute('data-is'), (field as HTMLElement).innerText]),
      );
    assert.deepEqual(Object.fromEntries(shown), {
      reference: name,
      size: `1.1 MB\n${length.toLocaleString('en')} bytes`,
      layers: `2\n${(packed / 1e6).toFixed(1)} MB compressed`,
      created: 'January 1, 2026',
      platform: 'linux/amd64',
      runs: "/bin/sh -c 'echo it'\\''s'",
      digest: made.descriptor.digest,
    });
    assert.equal(await page.title(), `${name} · DockerProxy`);
  });

  test('Back returns to the previous state, from links in any spelling', async (t) => {
    const page = await open(t);
    await page.goto(`${bed().url}/?image=${encodeURIComponent(bed().busybox)}&lang=en`);
    await page.waitForURL(`${bed().url}${busybox()}`);
    await enter(page, `${bed().busybox}:musl`);
    await page.waitForURL(`${bed().url}${busybox()}:musl`);
    await page.goBack();
    await page.locator('h2', { hasText: `${bed().busybox}:latest` }).waitFor();
    assert.equal(await page.locator('#image').inputValue(), bed().busybox);
    await page.goBack();
    await page.waitForURL(`${bed().url}/`);
    assert.equal(await page.locator('#result').isVisible(), false);
    await page.goForward();
    await page.locator('h2', { hasText: `${bed().busybox}:latest` }).waitFor();
  });

  for (const [wrong, sentence] of [
    ['platform=foo', /not a platform/],
    ['platform=linux/s390x', /not available for this platform/],
    ['format=tar', undefined],
  ] as const) {
    test(`a link with ${wrong} can be corrected`, async (t) => {
      const page = await open(t, `${busybox()}&${wrong}`);
      if (sentence) await page.getByRole('heading', { name: sentence }).waitFor();
      else await untilShown(page);
      await enter(page, `${bed().busybox}:1.35`);
      await page.locator('h2', { hasText: `${bed().busybox}:1.35` }).waitFor();
      assert.equal(await page.locator('#platform').inputValue(), 'linux/amd64');
      assert.equal(new URL(page.url()).search, `?${image('library/busybox:1.35')}`);
    });
  }

  test('a download without its module is left to the browser', async (t) => {
    const page = await openImage(t, busybox());
    await page.route('**/checksum.js', (route) => route.fulfill({ status: 404 }));
    await page.getByText('How to check the file').click();
    const [name] = await download(page, () => page.getByRole('button', { name: 'SHA-256' }).click());
    assert.equal(name, 'busybox.tar.sha256');
  });

  test('a service without a search, and one whose search fails, work as well', async (t) => {
    await using off = await startBed({ DOCKERPROXY_SEARCH_URL: 'off' });
    await using failing = await startBed();
    failing.search.answer('<html>', 500);
    for (const { url, search, busybox: name } of [off, failing]) {
      const page = await open(t, '/');
      const asked: string[] = [];
      page.on('request', (request) => asked.push(new URL(request.url()).pathname));
      await page.goto(url);
      await untilReady(page);
      const answered = url === failing.url && page.waitForResponse(/api\/v1\/search/);
      await page.locator('#image').fill('ngin');
      await page.keyboard.press('ArrowDown');
      await answered;
      await page.locator('#image').fill(`${name}:1.3`);
      await page.getByRole('option', { name: '1.36.1' }).click();
      await untilShown(page);
      assert.equal(asked.includes('/api/v1/search'), url === failing.url);
      assert.deepEqual(search.queries, url === failing.url ? ['ngin'] : []);
    }
  });

  test('by the keyboard alone', async (t) => {
    const page = await open(t);
    for (let presses = 0; presses < 9; presses++) {
      if (await page.locator('.skip:focus').count()) break;
      await page.keyboard.press('Shift+Tab');
    }
    await page.keyboard.press('Enter');
    await page.locator('#image:focus').waitFor();
    await page.keyboard.type(`${bed().busybox}:1.3`);
    await page.getByRole('option', { name: '1.36.1' }).waitFor();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('#options').isVisible(), false);
    await page.keyboard.press('ArrowDown');
    await page.locator('#options li').first().waitFor();
    await page.keyboard.press('ArrowDown');
    assert.equal(await page.locator('[aria-selected=true]').textContent(), '1.37.0-rc1');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await untilShown(page);
    assert.equal(await page.locator('#title').textContent(), `${bed().busybox}:1.36`);
    await page.locator('#download:focus').waitFor();
    const [name, sha256] = await download(page, () => page.keyboard.press('Enter'));
    assert.equal(name, 'busybox_1.36.tar');
    assert.equal(sha256, await bed().expected(`/dl?myimage=${bed().busybox}:1.36`));
  });

  test('without JavaScript the same form downloads', async (t) => {
    const page = await open(t, '/', { javaScriptEnabled: false });
    await page.getByLabel('Image name').fill(bed().busybox);
    await page.locator('select[name=platform]').selectOption('linux/arm64');
    await page.screenshot({ path: join(OUTPUT, 'without-scripts.png') });
    for (const how of [
      () => page.getByRole('button', { name: 'Download' }).click(),
      () => page.getByLabel('Image name').press('Enter'),
    ]) {
      const [name, sha256] = await download(page, how);
      assert.equal(name, 'busybox_linux-arm64.tar');
      assert.equal(sha256, await bed().expected(`/dl?myimage=${bed().busybox}&platform=linux/arm64`));
    }
  });

  test('without JavaScript, the page hides everything that needs it, and names the operator', async (t) => {
    const page = await open(t, '/', { javaScriptEnabled: false });
    const shown = await page.locator('body').innerText();
    assert.doesNotMatch(shown, /docker pull|page on Docker Hub|Several|Show/);
    assert.match(shown, /Run by Example Labs\. Contact/);
    await page.getByText('Available images').click();
    await page.locator('#patterns', { hasText: 'Docker Hub' }).waitFor();
    assert.equal(await page.getByLabel('Theme').isVisible(), false);
  });

  test('Enter before the modules have loaded starts the same download', async (t) => {
    const page = await open(t);
    const modules = Promise.withResolvers<void>();
    await page.route('**/app.js', async (route) => {
      await modules.promise;
      await route.continue().catch(() => {});
    });
    await page.goto(`${bed().url}/?lang=en`, { waitUntil: 'commit' });
    await page.locator('#image').fill(`docker pull ${bed().busybox}`);
    await page.locator('#image').press('Enter');
    await page.waitForURL(/myimage=/, { waitUntil: 'commit' });
    modules.resolve();
    await page.locator('h2', { hasText: `${bed().busybox}:latest` }).waitFor();
    assert.equal(new URL(page.url()).search, `?${image('library/busybox')}`);
  });

  test('a deep link shows what it names, and pasted text what it means', async (t) => {
    const page = await openImage(t, `${busybox()}&platform=linux/arm64`);
    assert.equal(await page.locator('#platform').inputValue(), 'linux/arm64');
    assert.match(
      (await page.locator('#line').textContent()) ?? '',
      /busybox_linux-arm64\.tar '.*platform=linux\/arm64'$/,
    );
    await enter(page, `docker pull --platform linux/amd64 ${bed().busybox}:1.35`);
    await page.locator('h2', { hasText: `${bed().busybox}:1.35` }).waitFor();
    assert.equal(new URL(page.url()).search, `?${image('library/busybox:1.35')}&platform=linux/amd64`);
    await page.goBack();
    await page.locator('h2', { hasText: `${bed().busybox}:latest` }).waitFor();
    assert.equal(await page.locator('#platform').inputValue(), 'linux/arm64');
  });

  test('another platform is another file, which commands fetch by digest', async (t) => {
    const page = await openImage(t, busybox());
    assert.deepEqual(await page.locator('#platform option').allTextContents(), [
      'linux/amd64',
      'linux/arm64',
    ]);
    await page.locator('#platform').selectOption('linux/arm64');
    await page.locator('#file', { hasText: 'busybox_linux-arm64.tar' }).waitFor();
    const line = (await page.locator('#line').textContent()) ?? '';
    const { digest } = bed().images.busybox.descriptor;
    const exact = `/dl?myimage=${bed().busybox}:latest@${digest}&platform=linux/arm64`;
    assert.equal(line, `wget -c -O busybox_linux-arm64.tar '${bed().url}${exact}'`);
    const href = (await page.locator('#download').getAttribute('href')) ?? '';
    const size = (await page.locator('[data-is=size]').textContent()) ?? '';
    const { headers } = await page.request
      .head(bed().url + href)
      .then((answer) => ({ headers: answer.headers() }));
    assert.ok(size.includes(Number(headers['content-length']).toLocaleString('en')), size);
  });

  test('several images are one file of exactly the stated size', async (t) => {
    const page = await openImage(t, `/?${image('test/shared:1')}`);
    await page.getByRole('button', { name: 'Add an image' }).click();
    await page.keyboard.type(`${bed().registry.host}/test/shared:2`);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Enter');
    await page.locator('#rows li').nth(1).waitFor();
    const [name, sha256] = await download(page, () => page.locator('#download').click());
    assert.equal(name, await page.locator('#file').textContent());
    const shared = `${bed().registry.host}/test/shared`;
    assert.equal(sha256, await bed().expected(`/dl?myimage=${shared}:1&myimage=${shared}:2`));
    await page.getByRole('button', { name: `Remove ${shared}:1` }).click();
    await page.locator('#rows li').first().waitFor({ state: 'detached' });
    assert.equal(await page.locator('#title').textContent(), `${shared}:2`);
  });

  test('repositories are suggested if the service has a search, and tags page by page', async (t) => {
    const page = await open(t);
    await page.locator('#image').pressSequentially('ngin');
    const options = page.locator('#options li');
    await options.first().waitFor();
    assert.deepEqual(await page.locator('#options bdi').allTextContents(), ['nginx', 'bitnami/nginx']);
    await page.locator('#image').fill(`${bed().registry.host}/test/many:`);
    await page.getByRole('option', { name: '1.59' }).waitFor();
    assert.equal(await options.count(), 51);
    await options.last().click();
    await page.getByRole('option', { name: '1.0', exact: true }).waitFor();
    assert.equal(await options.count(), 60);
    await page.locator('#image').fill(`${bed().registry.host}/test/many:5`);
    await page.waitForFunction(() => document.querySelectorAll('#options li').length === 15);
    await options.first().click();
    await untilShown(page);
    assert.equal(await page.locator('#title').textContent(), `${bed().registry.host}/test/many:1.59`);
  });

  test('the last used image is one click away, until the list is cleared', async (t) => {
    const page = await openImage(t, busybox());
    const isRecent = async () => {
      await untilReady(page);
      return page.locator('#recent').isVisible();
    };
    await openUntil(isRecent, page, bed().url);
    await page.locator('#recent button').first().click();
    await untilShown(page);
    await openUntil(isRecent, page, bed().url);
    await page.getByRole('button', { name: 'Clear list' }).click();
    assert.equal(await page.locator('#recent').isVisible(), false);
    await openUntil(async () => !(await isRecent()), page, bed().url);
  });

  test('the operator, the contact and the allowed registries are shown', async (t) => {
    const page = await open(t);
    await page.getByText('Run by Example Labs.').waitFor();
    assert.equal(
      await page.getByRole('link', { name: 'Contact' }).getAttribute('href'),
      'mailto:images@example.org',
    );
    await page.getByText('Available images').click();
    assert.match((await page.locator('#patterns').textContent()) ?? '', /Docker Hub/);
  });

  test('errors say what to do, and offer it', async (t) => {
    const page = await open(t, `${busybox()}&platform=linux/s390x`);
    await page.getByRole('heading', { name: 'The image is not available for this platform.' }).waitFor();
    await assertAccessible(page, 'error');
    await page.getByRole('button', { name: 'linux/arm64' }).click();
    await untilShown(page);
    assert.equal(await page.locator('#problem').isVisible(), false);
    for (const [text, sentence] of [
      [`${bed().registry.host}/test/nothing`, /image does not exist/],
      ['evil.example/app', /cannot be fetched here/],
    ] as const) {
      await enter(page, text);
      await page.getByRole('heading', { name: sentence }).waitFor();
    }
  });

  test('a chart is shown as its file', async (t) => {
    const page = await openImage(t, `/?${image('test/helm')}`);
    assert.equal(await page.locator('#platforms').isVisible(), false);
    await page.getByText('Details', { exact: true }).click();
    await page.locator('[data-is=files]', { hasText: 'chart-1.0.0.tgz' }).waitFor();
    assert.equal(await page.locator('[data-is=layers]').count(), 0);
    await assertAccessible(page, 'chart');
  });

  test('one wrong name among several is marked, omitted from the file, and removed by its button', async (t) => {
    const nothing = `${bed().registry.host}/test/nothing`;
    const page = await openImage(
      t,
      `/?${image('test/shared:1')}&${image('test/nothing')}&${image('test/zstd')}`,
    );
    await assertAccessible(page, 'bundle-wrong');
    assert.deepEqual(await page.locator('#rows .wrong bdi').allTextContents(), [nothing]);
    await page.getByText('Not in the file: 1.').waitFor();
    const shared = `${bed().registry.host}/test/shared:1`;
    const zstd = `${bed().registry.host}/test/zstd`;
    const url = `/dl?myimage=${shared}&myimage=${zstd}`;
    assert.equal(await page.locator('#download').getAttribute('href'), url);
    assert.ok(page.url().includes(nothing), 'the address keeps what was asked for');
    await page.getByRole('button', { name: `Remove ${nothing}` }).click();
    await page.locator('#rows li').nth(2).waitFor({ state: 'detached' });
    assert.equal(await page.locator('.wrong').count(), 0);
    assert.equal(await page.locator('#download').getAttribute('href'), url);
    await page.locator('#download:focus').waitFor();
  });

  for (const [device, viewport] of [
    ['a laptop', { width: 1280, height: 800 }],
    ['a phone', { width: 375, height: 812 }],
  ] as const) {
    for (const names of [
      ['library/busybox'],
      ['library/busybox', 'library/busybox:1.35', 'test/shared:1', 'test/shared:2', 'test/zstd'],
    ]) {
      test(`${names.length} pasted, then Enter: the file, in view on ${device}`, async (t) => {
        const page = await open(t, '/', { viewport });
        await enter(page, names.map((name) => `${bed().registry.host}/${name}`).join(' '));
        await page.locator('#download:focus').waitFor();
        const { y, height } = await boxOf(page.locator('#download'));
        assert.ok(y >= 0 && y + height <= viewport.height, `${y} + ${height}`);
        const top = await boxOf(page.locator('#title'));
        assert.ok(top.y >= 0 && (await page.evaluate(() => scrollY)) === 0);
        const [name] = await download(page, () => page.keyboard.press('Enter'));
        assert.equal(name, await page.locator('#file').textContent());
        await page.locator('#started', { hasText: 'Your browser is downloading the file.' }).waitFor();
        assert.equal(await page.locator('#loading').isVisible(), true);
      });
    }
  }

  test('errors are in the language of the page, whatever that of the browser is', async (t) => {
    const page = await open(t, `/?lang=ru&${image('test/nothing')}`, { locale: 'es-ES' });
    await page.getByRole('heading', { name: 'Образ не существует или закрыт.' }).waitFor();
  });

  test('a refused download shows a page with a link to the image', async (t) => {
    const page = await open(t, '/', { viewport: { width: 320, height: 640 } });
    await page.goto(`${bed().url}/dl?myimage=${bed().busybox}&platform=linux/s390x`);
    await page.getByRole('heading', { name: 'The image is not available for this platform.' }).waitFor();
    await assertAccessible(page, 'refused-download');
    await assertFits(page);
    await page.goto(`${bed().url}/dl?myimage=docker+pull+${bed().busybox}`);
    await page.getByRole('link', { name: 'Back to the page' }).click();
    await untilShown(page);
  });

  test('an invalid name is reported without a request', async (t) => {
    const page = await open(t);
    for (const [text, sentence] of [
      [`sha256:${'0'.repeat(64)}`, /which repository it belongs to/],
      ['???', /No image name/],
      ['b, c, d, e, f, g, h, j, k, l, m', /at most 10/],
    ] as const) {
      await enter(page, text);
      await page.locator('#names', { hasText: sentence }).waitFor();
      await page.locator('#image[aria-invalid=true]').waitFor();
    }
  });

  test('a text with several meanings asks which image is meant', async (t) => {
    const page = await open(t);
    await enter(page, `Use ${bed().busybox}:1.36 or ${bed().busybox}:1.35?`);
    await page.getByRole('heading', { name: 'Which image do you mean?' }).waitFor();
    await assertAccessible(page, 'ambiguous');
    await page.getByRole('button', { name: `${bed().busybox}:1.36`, exact: true }).click();
    await page.locator('h2', { hasText: `${bed().busybox}:1.36` }).waitFor();
    assert.equal(await page.locator('#problem').isVisible(), false);
    await enter(page, `docker pull ${bed().busybox}:<tag>`);
    await page.getByRole('button', { name: `${bed().busybox}:…` }).click();
    await page.getByRole('option', { name: '1.36.1' }).waitFor();
  });

  test('the language is that of the browser, or the one that was chosen', async (t) => {
    const page = await open(t, '/', { locale: 'ru-RU' });
    assert.equal(await page.locator('html').getAttribute('lang'), 'ru');
    await page.locator('#languages summary').click();
    await page.getByRole('link', { name: 'فارسی' }).click();
    await page.locator('html[lang=fa][dir=rtl]').waitFor();
    await untilReady(page);
    await page.goto(bed().url + busybox());
    await page.locator('html[lang=fa]').waitFor();
    await untilShown(page);
  });

  test('while it is looked up, the page says so', async (t) => {
    const page = await open(t);
    const answer = Promise.withResolvers<void>();
    await page.route('**/api/v1/image?*', async (route) => {
      await answer.promise;
      await route.continue();
    });
    await enter(page, bed().busybox);
    await page.locator('#status', { hasText: 'Looking it up' }).waitFor({ state: 'attached' });
    await page.locator('#form[aria-busy=true]').waitFor();
    answer.resolve();
    await untilShown(page);
    await page.locator('#form[aria-busy=false]').waitFor();
    // An invalid name ends the earlier look-up, and the page waits no longer.
    await page.route('**/api/v1/image?*', () => {});
    await enter(page, `${bed().busybox}:1.35`);
    await page.locator('#form[aria-busy=true]').waitFor();
    await enter(page, '???');
    await page.locator('#form[aria-busy=false]').waitFor();
  });

  test('another tag is chosen from those that there are', async (t) => {
    const page = await openImage(t, busybox());
    await page.getByRole('button', { name: 'Choose a tag' }).click();
    await page.getByRole('option', { name: 'musl' }).click();
    await page.locator('h2', { hasText: `${bed().busybox}:musl` }).waitFor();
  });

  test('users of an old Docker are warned of layers that it cannot load', async (t) => {
    const page = await openImage(t, `/?${image('test/zstd')}`);
    await page.getByText('Docker before version 23 cannot load this image').waitFor();
    await page.goto(bed().url + busybox());
    await untilShown(page);
    assert.equal(await page.locator('#notice').isVisible(), false);
  });

  test('the checksum is computed on demand, by the keyboard too, for as long as the file is the same', async (t) => {
    const page = await openImage(t, busybox());
    const answer = Promise.withResolvers<void>();
    await page.route(/checksum=1$/, async (route) => {
      await answer.promise;
      await route.continue();
    });
    await page.getByText('How to check the file').click();
    await page.getByRole('button', { name: 'SHA-256' }).press('Enter');
    await page
      .locator('#status', { hasText: 'Computing; a large image takes a while…' })
      .waitFor({ state: 'attached' });
    assert.equal(await page.getByRole('button', { name: 'SHA-256' }).getAttribute('aria-busy'), 'true');
    answer.resolve();
    const expected = await bed().expected(`/dl?myimage=${bed().busybox}`);
    await page.getByText(expected, { exact: true }).waitFor();
    await page.locator('#status', { hasText: `SHA-256 ${expected}` }).waitFor({ state: 'attached' });
    await assertAccessible(page, 'checksum');
    const file = await page.getByRole('link', { name: '.sha256' }).getAttribute('href');
    assert.equal(file, `/dl?myimage=${bed().busybox}&checksum=1`);
    await page.locator('#platform').selectOption('linux/arm64');
    await page.locator('#download[href*=arm64]').waitFor();
    await page.locator('#hash', { hasText: '·' }).waitFor();
  });

  test('a failing checksum is reported, and the download stays', async (t) => {
    const page = await openImage(t, busybox());
    const title = 'You have used up your data for today.';
    const body = JSON.stringify({ title, detail: 'x', status: 429, retryAfter: 60 });
    await page.route(/checksum=1$/, (route) =>
      route.fulfill({ status: 429, contentType: 'application/problem+json', body }),
    );
    await page.getByText('How to check the file').click();
    await page.getByRole('button', { name: 'SHA-256' }).click();
    await page.getByRole('heading', { name: title }).waitFor();
    assert.equal(await page.locator('#download').isVisible(), true);
    await assertAccessible(page, 'over');
    await page.getByRole('button', { name: 'Close' }).click();
    assert.equal(await page.locator('#problem').isVisible(), false);
  });

  test('the metalink is beside the line for aria2c', async (t) => {
    const page = await openImage(t, busybox());
    const link = page.getByRole('link', { name: 'Metalink' });
    assert.equal(await link.isVisible(), false);
    await page.getByLabel('aria2c', { exact: true }).check();
    assert.equal(await link.getAttribute('href'), `${bed().url}/dl?myimage=${bed().busybox}&metalink=1`);
    await assertAccessible(page, 'metalink');
  });

  // All contexts have one clipboard.
  suite('the clipboard', { concurrency: 1 }, () => {
    test('commands are for the shell, resume, and can be copied', async (t) => {
      const page = await openImage(t, busybox(), { permissions: ['clipboard-read', 'clipboard-write'] });
      const { digest } = bed().images.busybox.descriptor;
      const pinned = { images: [`${bed().busybox}:latest@${digest}`], platform: 'linux/amd64' };
      const url = bed().url + downloadUrl({ ...pinned, format: 'docker' });
      const lines = fetchCommands(url, 'busybox.tar', 'docker');
      for (const [tool, line] of Object.entries(lines)) {
        await page.getByLabel(tool, { exact: true }).check();
        assert.equal(await page.locator('#line').textContent(), line);
      }
      await page.getByRole('button', { name: 'Copy', exact: true }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), lines.skopeo);
    });

    test('a pasted text is looked up at once', async (t) => {
      const page = await open(t, '/', { permissions: ['clipboard-read', 'clipboard-write'] });
      const text = `docker run --rm -it ${bed().busybox}:1.35 sh`;
      await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
      await page.locator('#image').press('Control+V');
      await page.locator('h2', { hasText: `${bed().busybox}:1.35` }).waitFor();
    });

    test('each of several pasted lines is understood', async (t) => {
      const page = await open(t, '/', { permissions: ['clipboard-read', 'clipboard-write'] });
      const shared = `${bed().registry.host}/test/shared`;
      const text = [
        ...['services:', '  a:', `    image: ${shared}:1`, '    platform: linux/amd64'],
        ...['  b:', `    image: "${shared}:2"`, '    platform: linux/arm64', ''],
      ].join('\r\n');
      await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
      await page.locator('#image').press('Control+V');
      await page.locator('#rows li').nth(1).waitFor();
      assert.equal(await page.locator('#image').inputValue(), `${shared}:1 ${shared}:2`);
      assert.deepEqual(await page.locator('#rows bdi').allTextContents(), [`${shared}:1`, `${shared}:2`]);
      const notice = page.getByText('The text names several platforms: linux/amd64, linux/arm64.');
      await notice.waitFor();
      await page.locator('#platform').selectOption('linux/amd64');
      await page.locator('#download[href*=amd64]').waitFor();
      assert.equal(await notice.isVisible(), false, 'the visitor has chosen');
    });

    test('by plain HTTP, where pages have no clipboard of their own, commands can be copied, too', async (t) => {
      const page = await open(t);
      await page.goto(`${bed().url.replace('127.0.0.1', PLAIN_HOST)}${busybox()}`);
      await untilShown(page);
      assert.equal(await page.evaluate(() => 'clipboard' in navigator), false);
      await page.getByRole('button', { name: 'Copy', exact: true }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      const line = await page.locator('#line').textContent();
      await page.locator('#image').fill('');
      await page.locator('#image').press('Control+V');
      assert.equal(await page.locator('#image').inputValue(), line);
    });

    test('an OCI layout is loaded by other tools, and its link says what it is', async (t) => {
      const page = await openImage(t, busybox(), { permissions: ['clipboard-read', 'clipboard-write'] });
      await page.getByText('Advanced', { exact: true }).click();
      await page.locator('#format').selectOption('oci');
      await page.locator('#download[href*="format=oci"]').waitFor();
      assert.equal(await page.getByLabel('docker', { exact: true }).count(), 0);
      await page.getByText('How to load the file').click();
      assert.match(
        (await page.locator('#loading').textContent()) ?? '',
        /^skopeo copy oci-archive:busybox\.tar /m,
      );
      await page.getByRole('button', { name: 'Copy link' }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      const link = await page.evaluate(() => navigator.clipboard.readText());
      assert.equal(link, `${bed().url}/?image=${bed().busybox}&format=oci`);
      const other = await open(t, link.slice(bed().url.length));
      await untilShown(other);
      assert.equal(await other.locator('#format').inputValue(), 'oci');
    });
  });
});
