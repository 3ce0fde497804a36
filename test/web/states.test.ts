import { after, before, suite, test } from 'node:test';
import type { Browser, BrowserContextOptions } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { type Bed, startBed } from './bed.ts';
import { assertAccessible, assertFits, createOpener, startChromium, untilShown } from './browser.ts';

suite('the page in every state', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let bed: Bed;
  let chromium: Browser & AsyncDisposable;

  before(async () => {
    [bed, chromium] = await Promise.all([startBed(), startChromium()]);
  });
  after(async () => {
    await chromium[Symbol.asyncDispose]();
    await bed[Symbol.asyncDispose]();
  });

  const open = createOpener(() => ({ chromium, url: bed.url }));
  const image = (name: string): string => `image=${bed.registry.host}/${name}`;
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
    ['chinese', busybox, { locale: 'zh-CN' }],
    ['bundle', () => `/?${image('test/shared:1')}&${image('test/zstd')}`, {}],
  ];
  for (const [name, path, options] of states) {
    test(`WCAG 2.2 AA: ${name}`, async (t) => {
      const page = await open(t, path(), { reducedMotion: 'reduce', ...options });
      if (path() !== '/') await untilShown(page);
      await assertAccessible(page, name);
      await assertFits(page);
    });
  }

  test('WCAG 2.2 AA: suggestions, in light and dark', async (t) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open(t, '/', { colorScheme });
      await page.locator('#image').pressSequentially(`${bed.busybox}:`);
      await page.getByRole('option').first().waitFor();
      await page.keyboard.press('ArrowDown');
      await assertAccessible(page, `suggestions-${colorScheme}`);
    }
  });

  test('WCAG 2.2 AA: the page of the API', async (t) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open(t, '/api', { colorScheme, viewport: { width: 360, height: 640 } });
      await assertAccessible(page, `api-${colorScheme}`);
      await assertFits(page);
    }
  });
});
