import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { assertAccessible, enter, openUntil, untilReady, untilShown, usePage } from './browser.ts';

suite('the page by its own means', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();
  const schemeOf = (page: Page) =>
    page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);

  const openWith = (scheme: string, page: Page) =>
    openUntil(async () => (await schemeOf(page)) === scheme, page, bed().url);

  test('keeps the chosen theme, from the first frame on, also on the pages of a problem and of the API', async (t) => {
    const page = await open(t);
    assert.equal(await schemeOf(page), 'light dark');
    for (const theme of ['dark', 'light']) {
      await page.getByLabel('Theme').selectOption(theme);
      assert.equal(await schemeOf(page), theme);
      await page.route('**/app.js', (route) => route.abort());
      // Its modules do not run.
      await openWith(theme, page);
      assert.equal(await page.getByLabel('Theme').inputValue(), theme);
      await assertAccessible(page, `theme-${theme}`);
      await page.goto(`${bed().url}/dl?myimage=A`);
      assert.equal(await schemeOf(page), theme);
      await page.goto(`${bed().url}/api`);
      assert.equal(await schemeOf(page), theme);
      await page.unroute('**/app.js');
      await page.goto(bed().url);
      await untilReady(page);
    }
    await page.goto(`${bed().url}/api`);
    await page.getByLabel('Theme').selectOption('Auto');
    assert.equal(await schemeOf(page), 'light dark');
    await openWith('light dark', page);
  });

  test('without a network says so, and tries again once there is one', async (t) => {
    for (const locale of ['en-GB', 'es-ES', 'fa-IR', 'ru-RU', 'zh-CN']) {
      const page = await open(t, '/', { locale });
      await page.context().setOffline(true);
      await enter(page, 'nginx:1.27');
      await page.locator('#problem h2').waitFor();
      await assertAccessible(page, `offline-${locale}`);
      if (locale === 'en-GB') {
        await page.getByRole('button', { name: 'Try again' }).click();
        await page.getByRole('heading', { name: 'The service cannot be reached.' }).waitFor();
      }
      await page.context().setOffline(false);
      await untilShown(page);
      assert.equal(await page.locator('#problem').isVisible(), false);
    }
  });
});
