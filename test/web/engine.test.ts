import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Request } from 'playwright-core';
import { startDockerd } from '../support/engines.ts';
import { skipUnless } from '../support/packages.ts';
import { startBed } from './bed.ts';
import { enter, savedBy, sha256Of, startChromium, untilShown, visit } from './browser.ts';

suite('the page over a Docker engine', {
  skip: skipUnless('chromium', 'dockerd', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  test('the engine tells how far it is, and then the browser saves the file', async () => {
    await using engine = await startDockerd();
    await using bed = await startBed({ DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: engine.dockerHost });
    const chromium = await startChromium();
    await using visited = await visit(chromium, `${bed.url}/?image=${bed.busybox}`);
    const { page, complaints } = visited;
    await untilShown(page);
    assert.match((await page.locator('[data-is=size]').textContent()) ?? '', /known once/);
    assert.equal(await page.locator('#format').isVisible(), false, 'an engine has one format');
    const stages: string[] = [];
    await page.exposeFunction('told', (stage: string) => stages.push(stage));
    await page.locator('#stage').evaluate((stage) => {
      const { told } = globalThis as unknown as { told(stage: string): void };
      new MutationObserver(() => told(stage.textContent ?? '')).observe(stage, { childList: true });
    });
    const saved = await savedBy(page.locator('#download'));
    assert.equal(saved.suggestedFilename(), 'busybox.tar');
    assert.equal(await sha256Of(saved), await bed.expected(`/dl?myimage=${bed.busybox}`));
    assert.equal(stages.at(-1), 'Ready. The download is starting.');
    assert.ok(
      stages.some((stage) => /^(?:Waiting|Fetching|Packing)/.test(stage)),
      stages.join(),
    );
    assert.deepEqual(complaints, []);

    await enter(page, `${bed.registry.host}/test/helm`);
    await page.locator('#problem h2').waitFor();
    assert.deepEqual(complaints, []);
  });

  test('one download is watched at a time, and none of an image that is shown no more', async () => {
    await using engine = await startDockerd();
    await using bed = await startBed({ DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: engine.dockerHost });
    const chromium = await startChromium();
    await using visited = await visit(chromium, `${bed.url}/?image=${bed.busybox}`);
    const { page } = visited;
    await untilShown(page);
    // Without a delay, the work would end before another click.
    await page.route(/\/dl\/status\?/, () => {});
    const isEvents = (request: Request) => request.url().includes('/dl/status');
    const asks = async (act: () => Promise<unknown>) => {
      const [request] = await Promise.all([page.waitForEvent('request', isEvents), act()]);
      return request;
    };
    const ends = async (request: Request, act: () => Promise<unknown>) => {
      const ended = page.waitForEvent('requestfailed', (one) => one === request);
      const acted = await act();
      await ended;
      return acted;
    };
    const click = () => page.locator('#download').click();
    const first = await asks(click);
    const second = (await ends(first, () => asks(click))) as Request;
    await ends(second, () => page.locator('#platform').selectOption('linux/arm64'));
    await page.locator('#download[href*=arm64]').waitFor();
    assert.equal(await page.locator('#progress').isVisible(), false);

    await page.unroute(/\/dl\/status\?/);
    const title = 'You have too many downloads running.';
    const body = JSON.stringify({ title, detail: 'x', status: 429, retryAfter: 60 });
    await page.route(/\/dl\/status\?/, (route) =>
      route.fulfill({ status: 429, contentType: 'application/problem+json', body }),
    );
    await click();
    await page.getByRole('heading', { name: title }).waitFor();
    await page
      .getByRole('timer')
      .filter({ hasText: /You can try again in (?:1:00|0:\d\d)\./ })
      .waitFor();
    assert.equal(await page.locator('#download').isVisible(), true);

    await page.route('**/progress.js', (route) => route.fulfill({ status: 404 }));
    await page.reload();
    await untilShown(page);
    const started = page.waitForEvent('download');
    await click();
    assert.equal(
      (await started).suggestedFilename(),
      'busybox_linux-arm64.tar',
      'a newer service has no such module',
    );
  });
});
