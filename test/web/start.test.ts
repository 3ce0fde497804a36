import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import {
  assertAccessible,
  assertFits,
  enter,
  openUntil,
  savedBy,
  untilReady,
  untilShown,
  usePage,
} from './browser.ts';

const PHONE = { viewport: { width: 375, height: 812 }, hasTouch: true, isMobile: true };

suite('the start page', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();

  test('focuses the field, except where a keyboard on the screen would cover the page', async (t) => {
    const focused = (page: Awaited<ReturnType<typeof open>>) =>
      page.evaluate(() => document.activeElement?.id);
    assert.equal(await focused(await open(t)), 'image');
    assert.equal(await focused(await open(t, '/', PHONE)), '');
  });

  test('a name typed at once, then Enter twice: the file', async (t) => {
    const page = await open(t);
    await page.keyboard.type('python:3.12-slim');
    await page.keyboard.press('Enter');
    await page.locator('#download:focus').waitFor();
    const started = page.waitForEvent('download');
    await page.keyboard.press('Enter');
    assert.equal((await started).suggestedFilename(), 'python_3.12-slim.tar');
  });

  for (const [device, options] of [
    ['a laptop', {}],
    ['a phone', PHONE],
  ] as const) {
    test(`an example is one click from its download on ${device}`, async (t) => {
      const page = await open(t, '/', options);
      const examples = page.getByRole('group', { name: 'Examples' }).getByRole('link');
      assert.deepEqual(await examples.allInnerTexts(), ['python:3.12-slim', 'nginx:1.27', 'postgres:17']);
      await examples.first().click();
      await untilShown(page);
      assert.equal(new URL(page.url()).search, '?image=python:3.12-slim');
      assert.equal(await page.locator('#start').isVisible(), false);
      const recent = async () => {
        await untilReady(page);
        return (
          (await page.locator('#recent button').allInnerTexts()).join() === 'python:3.12-slim,Clear list'
        );
      };
      await openUntil(recent, page, bed().url);
      await assertAccessible(page, `start-${device.slice(2)}`);
      await assertFits(page);
    });
  }

  test('has a command with the host of this service, which downloads a file', async (t) => {
    const page = await open(t);
    const line = await page.locator('#start pre').innerText();
    const [, address = ''] = /^wget --content-disposition '([^']+)'$/.exec(line) ?? [];
    assert.equal(address, `${bed().url}/dl?myimage=python:3.12-slim`);
    const { status, headers } = await httpCall(address, { method: 'HEAD' });
    assert.equal(status, 200);
    const load = await page.locator('#start code').first().innerText();
    assert.equal(headers['content-disposition'], `attachment; filename="${load.split(' ').at(-1)}"`);
  });

  test('on a narrow screen, no example is cut off', async (t) => {
    const page = await open(t, '/', { viewport: { width: 320, height: 640 } });
    for (const example of await page.locator('#examples a').all()) {
      assert.ok(await example.evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth));
    }
  });

  test('without scripts, an example links to the page of its download', async (t) => {
    const page = await open(t, '/', { javaScriptEnabled: false });
    await page.getByRole('link', { name: 'python:3.12-slim' }).click();
    const saved = await savedBy(page.locator('#summary a'));
    assert.equal(saved.suggestedFilename(), 'python_3.12-slim.tar');
  });

  test('while an image is looked up, the page says so in view', async (t) => {
    const page = await open(t, '/', { reducedMotion: 'reduce' });
    const answer = Promise.withResolvers<void>();
    await page.route('**/api/v1/image?*', async (route) => {
      await answer.promise;
      await route.continue();
    });
    await enter(page, 'python:3.12-slim');
    await page.getByText('Looking it up…').and(page.locator('#names')).waitFor();
    await assertAccessible(page, 'busy');
    answer.resolve();
    await untilShown(page);
    assert.equal(await page.locator('#names').textContent(), '');
  });
});
