import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { tarOf } from '../contents/layers.ts';
import { orasArtifact, sbomOf } from '../support/artifacts.ts';
import { blob, image, index, layer, layerMediaType, sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startBed } from './bed.ts';
import { assertAccessible, assertFits, createOpener, savedBy, untilShown, usePage } from './browser.ts';

const HOSTILE = '<img src=x onerror=alert(1)>';

suite('look inside', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const {
    bed,
    browser,
    open: opener,
  } = usePage(async (bed) => {
    const many = Object.fromEntries(
      Array.from({ length: 1100 }, (_, at) => [`many/file-${`${at}`.padStart(4, '0')}`, `${at}`]),
    );
    const base = await layer({
      files: { 'etc/os-release': 'NAME=test\n', 'etc/hosts': 'old', [`names/${HOSTILE}`]: 'x', ...many },
    });
    const top = await layer({ files: { 'etc/hosts': 'new', 'etc/deep/inner/file.txt': 'deep' } });
    const tar = tarOf([
      { path: 'names/\xe9', type: 'directory', mode: 0o755 },
      { path: 'names/\xe9/\xff', data: Buffer.from('not UTF-8') },
    ]);
    const odd = { ...blob(layerMediaType.gzip, gzipSync(tar)), diffId: sha256(tar) };
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [base, top, odd] });
    await push(bed.registry.url, 'test/inside', 'v1', made);
    const tag = made.descriptor.digest.replace(':', '-');
    const sbom = sbomOf(made.descriptor);
    const listed = { ...sbom, descriptor: { ...sbom.descriptor, artifactType: 'application/spdx+json' } };
    await push(bed.registry.url, 'test/inside', tag, index([listed]));
    const signature = orasArtifact({
      files: [{ content: '{}', mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }],
    });
    await push(bed.registry.url, 'test/inside', `${tag}.sig`, signature);
  });
  const openInside = async (
    t: Parameters<typeof opener>[0],
    options: BrowserContextOptions = {},
  ): Promise<Page> => {
    const page = await opener(t, `/?image=${bed().registry.host}/test/inside:v1`, options);
    await untilShown(page);
    await page.locator('#inside > summary').click();
    await page.getByRole('tree').waitFor();
    return page;
  };
  const item = (page: Page, name: string) =>
    page.getByRole('treeitem').filter({ has: page.getByText(name, { exact: true }) });
  const focused = (page: Page) =>
    page.evaluate(() => document.activeElement?.querySelector('bdi')?.textContent);

  test('lists a directory when it is opened, with sizes and layers', async (t) => {
    const page = await openInside(t);
    assert.deepEqual(await page.getByRole('treeitem').locator('bdi').allInnerTexts(), [
      'etc',
      'many',
      'names',
    ]);
    await item(page, 'etc').click();
    await item(page, 'hosts').waitFor();
    await page.getByRole('treeitem', { name: 'hosts 3 bytes layer 2', exact: true }).waitFor();
    assert.equal(await item(page, 'etc').getAttribute('aria-expanded'), 'true');
    await item(page, 'etc').click();
    assert.equal(await item(page, 'hosts').isVisible(), false);
    await item(page, 'names').click();
    await item(page, HOSTILE).waitFor();
  });

  test('downloads a file and a directory', async (t) => {
    const page = await openInside(t);
    await item(page, 'etc').click();
    await item(page, 'os-release').click();
    const saved = await savedBy(page.getByRole('link', { name: 'Download file' }));
    assert.equal(saved.suggestedFilename(), 'os-release');
    assert.equal(await readFile(await saved.path(), 'utf8'), 'NAME=test\n');
    await item(page, 'etc').click();
    const packed = await savedBy(page.getByRole('link', { name: 'Download folder' }));
    assert.match(packed.suggestedFilename(), /\.tar$/);
  });

  test('opens and downloads what has a name that is not UTF-8', async (t) => {
    const page = await openInside(t);
    await item(page, 'names').click();
    const rows = page.getByRole('treeitem').filter({ hasText: '\ufffd' });
    await rows.click();
    await rows.nth(1).click();
    const saved = await savedBy(page.getByRole('link', { name: 'Download file' }));
    assert.equal(await readFile(await saved.path(), 'utf8'), 'not UTF-8');
  });

  for (const [locale, inward, outward] of [
    ['en-GB', 'ArrowRight', 'ArrowLeft'],
    ['fa-IR', 'ArrowLeft', 'ArrowRight'],
  ] as const) {
    test(`follows the keys of a tree, in ${locale}`, async (t) => {
      const page = await openInside(t, { locale });
      const nameOf = () => focused(page);
      await page.locator('#inside input').focus();
      await page.keyboard.press('Tab');
      assert.equal(await nameOf(), 'etc');
      await page.keyboard.press(inward);
      await page.locator('[role=group] li').first().waitFor();
      await page.keyboard.press(inward);
      assert.equal(await nameOf(), 'deep');
      await page.keyboard.type('os');
      assert.equal(await nameOf(), 'os-release');
      await page.keyboard.press('ArrowUp');
      assert.equal(await nameOf(), 'hosts');
      await page.keyboard.press(outward);
      assert.equal(await nameOf(), 'etc');
      await page.keyboard.press('End');
      assert.equal(await nameOf(), 'names');
      await page.keyboard.press('Home');
      assert.equal(await nameOf(), 'etc');
      await page.keyboard.press(outward);
      assert.equal(await page.locator('[role=group] li').first().isVisible(), false);
    });
  }

  test('loads the next page of a large directory', async (t) => {
    const page = await openInside(t);
    await item(page, 'many').click();
    await page.getByRole('treeitem', { name: 'More…' }).click();
    await item(page, 'file-1099').waitFor();
    assert.equal(await focused(page), 'file-1000');
    assert.equal(await page.getByRole('treeitem').count(), 1103);
  });

  test('filters names of all directories', async (t) => {
    const page = await openInside(t);
    await page.getByRole('searchbox').fill('INNER');
    await item(page, '/etc/deep/inner').waitFor();
    assert.deepEqual(await page.getByRole('treeitem').locator('bdi').allInnerTexts(), ['/etc/deep/inner']);
    await page.getByRole('searchbox').fill('no such file');
    await page.getByText('0 of 1,1').waitFor();
    await page.getByRole('searchbox').fill('');
    await item(page, 'etc').waitFor();
  });

  test('says what each layer adds and wastes', async (t) => {
    const page = await openInside(t);
    await page.locator('#inside').getByText('Layers', { exact: true }).click();
    const layers = page.locator('.layers li');
    await layers.nth(1).waitFor();
    assert.match(await layers.nth(0).innerText(), /Wasted: 3 bytes, hidden by later layers/);
    assert.match(await layers.nth(1).innerText(), /Files: 1 added, 1 changed, 0 removed/);
  });

  test('starts to read unread layers only when asked', async (t) => {
    await using small = await startBed({ DOCKERPROXY_CONTENTS_ON_DEMAND: '0' });
    const open = createOpener(() => ({ chromium: browser(), url: small.url }));
    const page = await open(t, `/?image=${small.busybox}`);
    await untilShown(page);
    await page.locator('#inside > summary').click();
    await page.getByText('the service must read the layers once').waitFor();
    await assertAccessible(page, 'inside-unread');
    await page.getByRole('button', { name: 'Read the layers' }).click();
    await item(page, 'bin').waitFor();
  });

  test('shows a signature and an SBOM with their downloads in the details', async (t) => {
    const page = await opener(t, `/?image=${bed().registry.host}/test/inside:v1`);
    await untilShown(page);
    await page.locator('#details > summary').click();
    const link = page.locator('.beside').getByRole('link', { name: 'SBOM' });
    await link.waitFor();
    await page.locator('.beside').getByRole('link', { name: 'Signed' }).waitFor();
    await assertAccessible(page, 'referrers');
    const saved = await savedBy(link);
    assert.ok(saved.suggestedFilename());
  });

  for (const [name, options] of [
    ['inside', {}],
    ['inside-dark', { colorScheme: 'dark' }],
    ['inside-narrow', { viewport: { width: 320, height: 640 } }],
    [
      'inside-persian-narrow',
      { viewport: { width: 320, height: 640 }, locale: 'fa-IR', colorScheme: 'dark' },
    ],
    ['inside-russian', { locale: 'ru-RU' }],
  ] as [string, BrowserContextOptions][]) {
    test(`WCAG 2.2 AA: ${name}`, async (t) => {
      const page = await openInside(t, { reducedMotion: 'reduce', ...options });
      await page.getByRole('treeitem').first().click();
      await page.locator('[role=group] [role=treeitem]').nth(1).click();
      await page.locator('#inside details summary').click();
      await page.locator('.layers li').first().waitFor();
      await assertAccessible(page, name);
      await assertFits(page);
    });
  }

  test('moves nothing while it loads', async (t) => {
    const page = await openInside(t);
    const shift = await page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries() as (PerformanceEntry & {
              value: number;
              hadRecentInput: boolean;
            })[])
              if (!entry.hadRecentInput) sum += entry.value;
          }).observe({ type: 'layout-shift', buffered: true });
          requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)));
        }),
    );
    assert.ok(shift < 0.01, `${shift}`);
  });
});
