import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { assertAccessible, assertFits, boxOf, savedBy, sha256Of, untilShown, usePage } from './browser.ts';

/** The space that stays free for longer commands: three lines. */
const SPARE_PX = 3 * 14 + 1;

suite('the advanced choices of the page', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open, openImage } = usePage();
  const PATH = '/?image=python:3.12-slim';
  const BASE = '/dl?myimage=python:3.12-slim';
  const openAdvanced = async (page: Page) => {
    await untilShown(page);
    await page.getByText('Advanced', { exact: true }).click();
  };
  const untilOffered = (page: Page, href: string) => page.locator(`#download[href="${href}"]`).waitFor();

  test('are in the download, its command, and the link of the page, and a link restores them', async (t) => {
    const page = await open(t, PATH);
    await openAdvanced(page);
    await page.locator('#format').selectOption('oci');
    await page.getByLabel('All platforms in one file').check();
    await untilOffered(page, `${BASE}&format=oci&platform=all`);
    await page.getByLabel('With signatures and SBOMs').check();
    const url = `${BASE}&format=oci&platform=all&referrers=1`;
    await untilOffered(page, url);
    assert.equal(await page.locator('#file').innerText(), 'python_3.12-slim_all-platforms.tar');
    assert.match(
      await page.locator('#line').innerText(),
      /myimage=python:3\.12-slim@sha256:[0-9a-f]{64}&format=oci&platform=all&referrers=1'$/,
    );
    assert.equal(new URL(page.url()).search, `${PATH.slice(1)}&format=oci&platform=all&referrers=1`);
    await assertAccessible(page, 'advanced');
    await page.reload();
    await untilOffered(page, url);
    await openAdvanced(page);
    assert.equal(await page.getByLabel('With signatures and SBOMs').isChecked(), true);
    await page.locator('#format').selectOption('docker');
    await untilOffered(page, BASE);
    assert.equal(await page.getByLabel('All platforms in one file').isVisible(), false);
  });

  test('make a delta of stated size, and refuse an invalid base in words', async (t) => {
    const page = await open(t, PATH);
    await openAdvanced(page);
    const have = page.getByLabel('Only what is missing on a machine that has');
    await have.fill('nginx:1.27');
    await have.press('Enter');
    await untilOffered(page, `${BASE}&have=nginx:1.27`);
    assert.match(await page.locator('#file').innerText(), /_delta-from-nginx_1\.27\.tar$/);
    await have.fill('A B');
    await have.press('Enter');
    await page.getByRole('heading', { name: 'This is not a valid image name.' }).waitFor();
  });

  test('stay in view when one of them is refused, so that it can be corrected', async (t) => {
    const page = await open(t, `${PATH}&parts=300kB`);
    await page.getByText('The parameter parts is "300kB", but must be at least 1MiB.').waitFor();
    assert.equal(await page.locator('#download').isVisible(), false, 'that of another choice');
    await assertAccessible(page, 'refused-choice');
    const parts = page.getByLabel('Cut into parts of at most');
    await parts.fill('1MiB');
    await parts.press('Enter');
    await page.locator('#parts a').first().waitFor();
    await parts.fill('1kB');
    const before = await boxOf(parts);
    await parts.press('Enter');
    await page.locator('#problem h2').waitFor();
    assert.deepEqual(await boxOf(parts), before, 'the field stays where it is');
    assert.equal(
      await page.locator('#download').isVisible(),
      false,
      'the file of the earlier choice is hidden',
    );
    const { y, height } = await boxOf(page.locator('#problem'));
    assert.ok(y >= 0 && y + height < before.y, 'the problem does not cover the field');
    await assertAccessible(page, 'refused-choice-of-an-image');
    await parts.fill('');
    await parts.press('Enter');
    await untilOffered(page, BASE);
    assert.equal(await page.locator('#problem').isVisible(), false);
  });

  test('cut a file into parts with a link and a command each, which together are the file', async (t) => {
    const page = await open(t, PATH);
    await openAdvanced(page);
    const { height } = await boxOf(page.locator('.line'));
    const tool = page.locator('#tools > *').first();
    const ofTool = await boxOf(tool);
    const parts = page.getByLabel('Cut into parts of at most');
    await parts.fill('1MiB');
    await parts.press('Enter');
    await untilOffered(page, `${BASE}&parts=1MiB&part=1`);
    const space = (await boxOf(page.locator('.line'))).height - height;
    assert.ok(space <= SPARE_PX, `the lines of all parts scroll, instead of ${space} px more`);
    assert.equal((await boxOf(tool)).height, ofTool.height, 'fewer tools do not become taller');
    assert.equal(await page.getByLabel('tar', { exact: true }).count(), 0, 'a part is not an archive');
    const links = await page
      .locator('#parts a')
      .evaluateAll((all) => all.map((link) => link.getAttribute('href') ?? ''));
    assert.equal(links.length, 1);
    const bodies = await Promise.all(
      [`${BASE}&parts=1MiB&part=1`, links[0] ?? ''].map(
        async (path) => (await httpCall(bed().url + path)).body,
      ),
    );
    const { body: whole } = await httpCall(bed().url + BASE);
    assert.ok(Buffer.concat(bodies).equals(whole));
    const lines = (await page.locator('#line').innerText()).split('\n');
    assert.equal(lines.length, 2);
    assert.match(lines[1] ?? '', /^wget -c -O python_3\.12-slim\.tar\.part02of02 /);
    await page.getByText('How to load the file').click();
    assert.match(
      await page.locator('#loading').innerText(),
      /^cat python_3\.12-slim\.tar\.part\* > python_3\.12-slim\.tar\n/,
    );
    await assertAccessible(page, 'parts');
  });

  test('show how far the reading of layers is, and then save a root file system or a squashed archive', async (t) => {
    const page = await openImage(t, `${PATH}&format=rootfs`, { viewport: { width: 375, height: 812 } });
    assert.equal(await page.locator('#size').innerText(), '', 'only the layers tell the size');
    const stages: string[] = [];
    await page.exposeFunction('told', (stage: string) => stages.push(stage));
    await page.locator('#stage').evaluate((stage) => {
      const { told } = globalThis as unknown as { told(stage: string): void };
      new MutationObserver(() => told(stage.textContent ?? '')).observe(stage, { childList: true });
    });
    const saved = await savedBy(page.locator('#download'));
    assert.equal(saved.suggestedFilename(), 'python_3.12-slim_rootfs.tar');
    assert.equal(await sha256Of(saved), await bed().expected(`${BASE}&format=rootfs`));
    assert.equal(stages.at(-1), 'Ready. The download is starting.');
    assert.match(await page.locator('#loading').innerText(), /^wsl --import /m);
    await assertFits(page);
    await openAdvanced(page);
    await page.locator('#format').selectOption('docker-classic');
    await page.getByLabel('All layers as one').check();
    await untilOffered(page, `${BASE}&format=docker-classic&squash=1`);
    const squashed = await savedBy(page.locator('#download'));
    assert.equal(squashed.suggestedFilename(), 'python_3.12-slim_squashed.tar');
  });

  test('the line beside the checksum verifies the saved file, and refuses another one', async (t) => {
    await using folder = await temporaryFolder();
    const page = await openImage(t, PATH);
    const saved = await savedBy(page.locator('#download'));
    await page.getByText('Your browser is downloading the file.').and(page.locator('#started')).waitFor();
    await page.getByRole('button', { name: 'SHA-256' }).click();
    const lines = page.locator('#check pre');
    await page.locator('#hash', { hasText: /^[0-9a-f]{64}$/ }).waitFor();
    const [linux = '', mac = '', windows = ''] = await lines.allInnerTexts();
    const file = join(folder.path, saved.suggestedFilename());
    await copyFile(await saved.path(), file);
    const run = (line: string) => spawnSync('sh', ['-c', line], { cwd: folder.path, encoding: 'utf8' });
    assert.equal(run(linux).stdout, `${saved.suggestedFilename()}: OK\n`);
    assert.equal(mac, linux.replace('sha256sum', 'shasum -a 256'));
    const [, sum = ''] =
      /^\(Get-FileHash -LiteralPath python_3\.12-slim\.tar\)\.Hash -eq '([0-9a-f]{64})'$/.exec(windows) ?? [];
    assert.equal(sum, await sha256Of(saved));
    await copyFile(import.meta.filename, file);
    assert.notEqual(run(linux).status, 0);
    await assertAccessible(page, 'check');
  });
});
