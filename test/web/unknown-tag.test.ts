import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { LANGUAGES, readWebFolder } from '../../src/http/web-assets.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { assertAccessible, assertFits, OUTPUT, untilShown, usePage } from './browser.ts';

const LOCALES = { en: 'en-GB', es: 'es-ES', fa: 'fa-IR', ru: 'ru-RU', zh: 'zh-CN' };

suite('an unknown tag, in Chromium', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage(async (bed) => {
    for (const tag of ['3.12-slim', '3.12-slim-bookworm', '3.12', 'other'])
      await push(bed.registry.url, 'test/python', tag, bed.images.shared1);
  });
  const python = (): string => `${bed().registry.host}/test/python`;
  const buttons = (page: Page) => page.locator('#problem .chips button');
  const TAGS = ['3.12-slim', '3.12-slim-bookworm', '3.12'];

  for (const lang of LANGUAGES) {
    test(`shows a button for each similar tag in ${lang}`, async (t) => {
      const [title = ''] = readWebFolder().languages[lang].problems['tag-not-found']?.split(' | ') ?? [];
      const page = await open(t, `/?image=${python()}:3.12-slimm`, {
        locale: LOCALES[lang],
        viewport: { width: 360, height: 740 },
      });
      await page.getByRole('heading', { name: title }).waitFor();
      assert.deepEqual(await buttons(page).allInnerTexts(), TAGS);
      await assertAccessible(page, `unknown-tag-${lang}`);
      await assertFits(page);
    });
  }

  test('gives way to the tag whose button is chosen, for the same platform, by mouse and by keyboard', async (t) => {
    for (const choose of [
      async (page: Page) => buttons(page).first().click(),
      async (page: Page) => {
        await page.locator('#image').focus();
        const isChosen = () =>
          buttons(page)
            .first()
            .evaluate((button) => button === document.activeElement);
        // The Show button is between the field and the tags.
        for (let presses = 0; presses < 5 && !(await isChosen()); presses++) await page.keyboard.press('Tab');
        assert.ok(await isChosen());
        await page.keyboard.press('Enter');
      },
    ]) {
      const page = await open(t, `/?image=${python()}:3.12-slimm&platform=linux/amd64`);
      await buttons(page).first().waitFor();
      await choose(page);
      await untilShown(page);
      assert.equal(await page.locator('#image').inputValue(), `${python()}:3.12-slim`);
      assert.equal(await page.locator('#problem').isVisible(), false);
      assert.equal(new URL(page.url()).searchParams.get('platform'), 'linux/amd64');
      await page.locator('#download:focus').waitFor();
    }
  });

  test('is replaced without changing other images', async (t) => {
    const page = await open(
      t,
      `/?image=${bed().busybox}&image=${python()}:3.12-slimm&image=${python()}:other`,
    );
    await page.locator('#rows .chips button').first().click();
    await page.locator('#rows .wrong').waitFor({ state: 'detached' });
    assert.equal(
      await page.locator('#image').inputValue(),
      `${bed().busybox} ${python()}:3.12-slim ${python()}:other`,
    );
  });

  test('is latest if no tag is given', async (t) => {
    const page = await open(t, `/?image=${python()}`);
    await buttons(page).first().waitFor();
    assert.equal((await buttons(page).allInnerTexts())[0], '3.12');
    await buttons(page).first().click();
    await untilShown(page);
    assert.equal(await page.locator('#image').inputValue(), `${python()}:3.12`);
  });

  test('has links to the download without scripts', async (t) => {
    const path = `/dl?myimage=${python()}:3.12-slimm&platform=linux/amd64`;
    const page = await open(t, path, { javaScriptEnabled: false, colorScheme: 'dark' });
    const links = page.locator('#problem .chips a');
    assert.deepEqual(await links.allInnerTexts(), TAGS);
    await page.screenshot({ path: join(OUTPUT, 'unknown-tag-without-scripts.png') });
    const started = page.waitForEvent('download');
    await links.first().click();
    assert.match((await started).suggestedFilename(), /python_3\.12-slim.*\.tar$/);
  });
});
