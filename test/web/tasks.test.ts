import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { sha256Of, usePage } from './browser.ts';

const DEVICES = [
  ['a laptop', { viewport: { width: 1280, height: 800 } }],
  ['a phone', { viewport: { width: 375, height: 812 }, hasTouch: true, isMobile: true }],
] as const;

suite('tasks of visitors who see the page for the first time', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();
  const CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };
  /** Counts what a visitor does. */
  const createVisitor = (page: Page) => {
    const actions: string[] = [];
    return {
      actions,
      paste: async (text: string) => {
        await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
        await page.locator('#image').press('Control+V');
        actions.push('paste');
      },
      click: async (selector: string) => {
        await page.locator(selector).click();
        actions.push(`click ${selector}`);
      },
    };
  };

  for (const [device, options] of DEVICES) {
    for (const text of [
      'python:3.12-slim',
      'docker pull python:3.12-slim',
      'https://hub.docker.com/_/python',
    ]) {
      test(`a file of what was pasted, in two actions: ${text}, on ${device}`, async (t) => {
        const page = await open(t, '/', { ...options, ...CLIPBOARD });
        const visitor = createVisitor(page);
        await visitor.paste(text);
        const started = page.waitForEvent('download');
        await visitor.click('#download');
        const saved = await started;
        assert.ok(visitor.actions.length <= 2);
        assert.match(saved.suggestedFilename(), /^python.*\.tar$/);
        const name = text.startsWith('https') ? 'python' : 'python:3.12-slim';
        assert.equal(await sha256Of(saved), await bed().expected(`/dl?myimage=${name}`));
      });
    }

    test(`the command for Apptainer, in three actions, on ${device}`, async (t) => {
      const page = await open(t, '/', { ...options, ...CLIPBOARD });
      const visitor = createVisitor(page);
      await visitor.paste('python:3.12-slim');
      await visitor.click('#tools label:has([value=apptainer])');
      await visitor.click('#copy');
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      assert.ok(visitor.actions.length <= 3);
      const line = await page.evaluate(() => navigator.clipboard.readText());
      assert.match(line, /apptainer build .*python_3\.12-slim\.sif docker-archive:python_3\.12-slim\.tar/);
      assert.ok(line.includes(bed().url));
    });
  }
});
