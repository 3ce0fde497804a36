import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BrowserContextOptions, Locator } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { assertAccessible, assertFits, boxOf, untilShown, usePage } from './browser.ts';

suite('the page in every state', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();
  const image = (name: string): string => `image=${bed().registry.host}/${name}`;
  const busybox = (): string => `/?${image('library/busybox')}`;

  const states: [name: string, path: () => string, options: BrowserContextOptions][] = [
    ['empty', () => '/', {}],
    ['details', busybox, {}],
    ['dark', busybox, { colorScheme: 'dark' }],
    ['persian', busybox, { locale: 'fa-IR' }],
    [
      'persian-dark-narrow',
      busybox,
      { locale: 'fa-IR', colorScheme: 'dark', viewport: { width: 320, height: 640 } },
    ],
    ['narrow', busybox, { viewport: { width: 320, height: 640 } }],
    ['zoom-200', busybox, { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 }],
    ['wide', busybox, { viewport: { width: 1920, height: 1080 } }],
    ['russian-narrow', busybox, { locale: 'ru-RU', viewport: { width: 320, height: 640 } }],
    ['spanish', busybox, { locale: 'es-ES', reducedMotion: 'reduce' }],
    ['bundle', () => `/?${image('test/shared:1')}&${image('test/zstd')}`, {}],
  ];
  for (const [name, path, options] of states) {
    test(`WCAG 2.2 AA: ${name}`, async (t) => {
      const page = await open(t, path(), { reducedMotion: 'reduce', ...options });
      if (path() !== '/') {
        await untilShown(page);
        for (const summary of await page.locator('#result summary:visible').all()) await summary.click();
      }
      await assertAccessible(page, name);
      await assertFits(page);
    });
  }

  test('WCAG 2.2 AA: chinese, in its own characters', { skip: skipUnless('chinese-font') }, async (t) => {
    for (const [name, options] of [
      ['chinese', {}],
      ['chinese-narrow', { viewport: { width: 320, height: 640 } }],
    ] as const) {
      const page = await open(t, busybox(), { locale: 'zh-CN', ...options });
      await untilShown(page);
      const drawn = await page.evaluate(() =>
        ['镜', '像'].map((character) => {
          const canvas = document.createElement('canvas');
          canvas.getContext('2d')?.fillText(character, 0, 20);
          return canvas.toDataURL();
        }),
      );
      assert.notEqual(drawn[0], drawn[1], 'these are no boxes');
      await assertAccessible(page, name);
      await assertFits(page);
    }
  });

  test('WCAG 2.2 AA: suggestions, in light and dark', async (t) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open(t, '/', { colorScheme });
      await page.locator('#image').pressSequentially(`${bed().busybox}:`);
      await page.locator('#options li').first().waitFor();
      await page.keyboard.press('ArrowDown');
      await assertAccessible(page, `suggestions-${colorScheme}`);
    }
  });

  test('WCAG 2.2 AA: the languages, each whole and on one line', async (t) => {
    for (const [locale, width] of [
      ['en-GB', 320],
      ['fa-IR', 700],
    ] as const) {
      const page = await open(t, '/', { locale, viewport: { width, height: 420 } });
      await page.locator('#languages summary').click();
      await assertAccessible(page, `languages-${locale}`);
      await assertFits(page);
      for (const link of await page.locator('#languages a').all()) {
        const { x, y, width: wide, height } = await boxOf(link);
        assert.ok(height < 48 && x >= 0 && x + wide <= width && y + height <= 420, await link.innerText());
      }
    }
  });

  test('WCAG 2.2 AA: an invalid name is marked as one', async (t) => {
    const page = await open(t);
    const border = () => page.locator('.field').evaluate((field) => getComputedStyle(field).borderColor);
    const valid = await border();
    await page.locator('#image').fill('???');
    await page.keyboard.press('Enter');
    await page.locator('#image[aria-invalid=true]').waitFor();
    assert.notEqual(await border(), valid);
    await assertAccessible(page, 'invalid');
  });

  test('on a narrow screen nothing covers the name of an image in a bundle', async (t) => {
    const long = 'test/a-name-that-is-longer-than-a-line';
    await push(bed().registry.url, long, 'latest', bed().images.shared1);
    const path = `/?${image(long)}&${image('test/zstd')}`;
    const page = await open(t, path, { viewport: { width: 320, height: 640 } });
    await untilShown(page);
    await assertAccessible(page, 'bundle-narrow');
    await assertFits(page);
    const row = page.locator('#rows li').first();
    const button = await boxOf(row.locator('button'));
    const lines = await row
      .locator('bdi')
      .evaluate((name) => [...name.getClientRects()].map(({ right, top }) => ({ right, top })));
    assert.ok(lines.length > 1, 'the name takes several lines');
    for (const { right } of lines) assert.ok(right <= button.x, `${right} > ${button.x}`);
  });

  test('from right to left, what is in another script begins at the right, too', async (t) => {
    const page = await open(t, busybox(), { locale: 'fa-IR' });
    await untilShown(page);
    const atRight = async (part: Locator, whole: Locator) => {
      const [inner, outer] = [await boxOf(part), await boxOf(whole)];
      const gap = outer.x + outer.width - inner.x - inner.width;
      assert.ok(gap >= 0 && gap <= 16, `${await part.innerText()}: ${gap}`);
    };
    await atRight(page.locator('#tools label').first(), page.locator('#tools'));
    await page.locator('footer summary').click();
    await atRight(page.locator('#patterns'), page.locator('footer'));
    await page.locator('#image').fill('ngin');
    await page.keyboard.press('ArrowDown');
    const official = page.locator('#options li').first();
    assert.match(await official.innerText(), /ایمیج رسمی · \u2068Official build of Nginx\.\u2069/);
    await assertAccessible(page, 'suggestions-persian');
  });

  test('WCAG 2.2 AA: the page of the API', async (t) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open(t, '/api', { colorScheme, viewport: { width: 360, height: 640 } });
      await assertAccessible(page, `api-${colorScheme}`);
      await assertFits(page);
      const { x } = await boxOf(page.getByRole('navigation', { name: 'Contents' }));
      assert.ok(x >= 0, 'the contents are in view');
      await assertFits(page);
    }
  });
});
