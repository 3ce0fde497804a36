import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startDockerd } from '../support/engines.ts';
import { skipUnless } from '../support/packages.ts';
import { startBed } from './bed.ts';
import { sha256Of, startChromium, untilShown, visit } from './browser.ts';

suite('the page over a Docker engine', {
  skip: skipUnless('chromium', 'dockerd', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  test('the engine tells how far it is, and then the browser saves the file', async () => {
    await using engine = await startDockerd();
    await using bed = await startBed({ DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: engine.dockerHost });
    await using chromium = await startChromium();
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
    const started = page.waitForEvent('download');
    await page.locator('#download').click();
    const saved = await started;
    assert.equal(saved.suggestedFilename(), 'busybox.tar');
    assert.equal(await sha256Of(saved), await bed.expected(`/dl?myimage=${bed.busybox}`));
    assert.equal(stages.at(-1), 'Ready. The download is starting.');
    assert.ok(
      stages.some((stage) => /^(?:Waiting|Fetching|Packing)/.test(stage)),
      stages.join(),
    );
    const asked = bed.proxy.logs().filter(({ msg }) => msg.includes('status'));
    assert.ok(asked.length <= 1, 'the events are asked for once');
    assert.deepEqual(complaints, []);

    await page.locator('#image').fill(`${bed.registry.host}/test/helm`);
    await page.keyboard.press('Enter');
    await page.locator('#problem h2').waitFor();
    assert.deepEqual(complaints, []);
  });
});
