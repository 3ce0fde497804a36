import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BrowserContextOptions, Locator, Page } from 'playwright-core';
import { orasArtifact } from '../support/artifacts.ts';
import { index, layer, image as made } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { assertAccessible, assertFits, boxOf, enter, OUTPUT, untilShown, usePage } from './browser.ts';

suite('the page in every state', {
  concurrency: 3,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open, openImage } = usePage(async (prepared) => {
    const { url } = prepared.registry;
    const small = await layer({ files: { 'etc/a': 'a' } });
    const of = (os: string, architecture: string, layers = [small]) =>
      made({ platform: { os, architecture }, layers });
    await push(url, 'test/windows', 'latest', index([of('windows', 'amd64')]));
    const layers = await Promise.all(
      Array.from({ length: 100 }, (_, at) => layer({ files: { [`etc/${at}`]: `${at}` } })),
    );
    const architectures = Array.from({ length: 29 }, (_, at) => `cpu${at}`);
    const many = ['amd64', ...architectures].map((architecture) => of('linux', architecture, layers));
    await push(url, 'test/many', 'latest', index(many));
    const files = ['model.safetensors', 'README.md'].map((title) => ({ title, content: title }));
    await push(url, 'test/model', 'latest', orasArtifact({ files }));
  });
  const request = (text: string) => (page: Page) => enter(page, text);
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

  const act =
    (...steps: ((page: Page) => Promise<unknown>)[]) =>
    async (page: Page): Promise<void> => {
      for (const step of steps) await step(page);
    };
  const click = (selector: string) => (page: Page) => page.locator(selector).click();
  const visible = (selector: string) => (page: Page) => page.locator(selector).first().waitFor();
  const untilRefused = visible('#problem h2');
  const tool = (name: string) => (page: Page) =>
    page.locator('#tools').getByText(name, { exact: true }).click();
  /** States that take an action or a refusal. */
  const reached: [name: string, path: () => string, reach: (page: Page) => Promise<unknown>][] = [
    [
      'busy',
      () => '/',
      act(
        (page) => page.route('**/api/v1/image?*', () => {}),
        request('nginx:1.27'),
        visible('[aria-busy=true]'),
      ),
    ],
    [
      'advanced-oci',
      () => `${busybox()}&format=oci&platform=all&referrers=1`,
      act(untilShown, click('#advanced summary')),
    ],
    ['rootfs', () => `${busybox()}&format=rootfs`, untilShown],
    ['after-click', busybox, act(untilShown, click('#download'), visible('#started'))],
    [
      'preparing',
      () => `${busybox()}&format=rootfs`,
      act(
        (page) => page.route('**/dl/status?*', () => {}),
        untilShown,
        click('#download'),
        visible('#progress'),
      ),
    ],
    ['powershell', busybox, act(untilShown, tool('PowerShell'))],
    ['apptainer', busybox, act(untilShown, tool('apptainer'))],
    ['artifact', () => `/?${image('test/model')}`, act(untilShown, click('#details summary'))],
    [
      'windows',
      () => `/?${image('test/windows')}&platform=windows/amd64`,
      act(untilShown, click('#details summary')),
    ],
    [
      'many-platforms-and-layers',
      () => `/?${image('test/many')}`,
      act(untilShown, click('#details summary')),
    ],
    [
      'by-digest',
      () => `/?image=${bed().busybox}@${bed().images.busybox.descriptor.digest}`,
      act(untilShown, click('#details summary')),
    ],
    [
      'digest-alone',
      () => '/',
      act((page) => enter(page, bed().images.busybox.descriptor.digest), visible('[aria-invalid=true]')),
    ],
    ['not-allowed', () => '/?image=evil.example/app', untilRefused],
    ['missing', () => `/?${image('test/nothing')}`, untilRefused],
  ];
  for (const [name, path, reach] of reached) {
    test(`WCAG 2.2 AA: ${name}, on a laptop and dark on a phone`, async (t) => {
      const page = await open(t, path(), { reducedMotion: 'reduce' });
      await reach(page);
      await assertAccessible(page, name);
      await assertFits(page);
      await page.emulateMedia({ colorScheme: 'dark' });
      await page.setViewportSize({ width: 320, height: 640 });
      await assertAccessible(page, `${name}-dark-phone`);
      await assertFits(page);
    });
  }

  for (const [name, path] of [
    ['start', () => '/'],
    ['image', busybox],
    ['bundle', () => `/?${image('test/shared:1')}&${image('test/zstd')}`],
    ['problem', () => `/dl?myimage=${bed().busybox}:1.366`],
  ] as const) {
    // axe needs timers, which do not run without scripts.
    test(`without scripts, ${name} fits on a laptop and in Persian on a phone`, async (t) => {
      for (const options of [
        {},
        { locale: 'fa-IR', colorScheme: 'dark', viewport: { width: 320, height: 640 } },
      ] as const) {
        const page = await open(t, path(), { javaScriptEnabled: false, ...options });
        const device = 'locale' in options ? 'phone' : 'laptop';
        await page.screenshot({
          path: join(OUTPUT, `${name}-without-scripts-${device}.png`),
          fullPage: true,
        });
        await assertFits(page);
      }
    });
  }

  test('forced colors show what is chosen', async (t) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await openImage(t, busybox(), { forcedColors: 'active', colorScheme });
      const outline = (selector: string) =>
        page.locator(selector).evaluate((element) => getComputedStyle(element).outlineStyle);
      assert.equal(await outline('#tools label:has(:checked)'), 'solid');
      assert.equal(await outline('#tools label:not(:has(:checked)) >> nth=0'), 'none');
      // The browser replaces the page's colors, and axe compares with the background of the page.
      await assertAccessible(page, `forced-colors-${colorScheme}`, ['color-contrast']);
      await page.locator('#image').fill(`${bed().busybox}:`);
      await page.locator('#image').press('ArrowDown');
      await page.locator('#options li').first().waitFor();
      await page.keyboard.press('ArrowDown');
      assert.equal(await outline('#options [aria-selected=true]'), 'solid');
    }
  });

  test('at a zoom of 400 %, scrolling down alone shows everything', async (t) => {
    // A window of 1280 × 1024 pixels at this zoom.
    const zoomed = { viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 };
    for (const path of ['/', busybox(), `/?${image('test/nothing')}`, '/api']) {
      const page = await open(t, path, zoomed);
      if (path.startsWith('/?')) await page.locator('#result h2, #problem h2').first().waitFor();
      for (const summary of await page.locator('summary:visible').all()) await summary.click();
      await assertFits(page);
    }
  });

  test('WCAG 2.2 AA: chinese, in its own characters', { skip: skipUnless('chinese-font') }, async (t) => {
    for (const [name, options] of [
      ['chinese', {}],
      ['chinese-narrow', { viewport: { width: 320, height: 640 } }],
    ] as const) {
      const page = await openImage(t, busybox(), { locale: 'zh-CN', ...options });
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

  test('on a narrow screen the header takes one line in each language', async (t) => {
    for (const lang of ['en', 'es', 'fa', 'ru', 'zh']) {
      const page = await open(t, `/?lang=${lang}`, { viewport: { width: 320, height: 640 } });
      const [brand, theme, languages] = await Promise.all(
        ['.brand', '#theme', '#languages'].map((selector) => boxOf(page.locator(selector))),
      );
      assert.ok(theme && languages && brand && theme.y < brand.y + brand.height, lang);
      assert.ok(languages.y < brand.y + brand.height, lang);
    }
  });

  test('WCAG 2.2 AA: an invalid name is marked as one', async (t) => {
    const page = await open(t);
    const border = () => page.locator('.field').evaluate((field) => getComputedStyle(field).borderColor);
    const valid = await border();
    await enter(page, '???');
    await page.locator('#image[aria-invalid=true]').waitFor();
    assert.notEqual(await border(), valid);
    await assertAccessible(page, 'invalid');
  });

  test('on a narrow screen nothing covers the name of an image in a bundle', async (t) => {
    const long = 'test/a-name-that-is-longer-than-a-line';
    await push(bed().registry.url, long, 'latest', bed().images.shared1);
    const path = `/?${image(long)}&${image('test/zstd')}`;
    const page = await openImage(t, path, { viewport: { width: 320, height: 640 } });
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
    const page = await openImage(t, busybox(), { locale: 'fa-IR' });
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
      const headings = await page.locator('h2').evaluateAll((all) => all.map((one) => one.clientHeight));
      assert.equal(new Set(headings).size, 1, `headings of ${headings} px`);
      for (const summary of await page.locator('summary').all()) await summary.click();
      await assertAccessible(page, `api-open-${colorScheme}`);
      await assertFits(page);
    }
  });
});
