import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { startBed } from './bed.ts';
import { assertAccessible, enter, startChromium, untilShown, visit } from './browser.ts';

suite('the page under limits', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  test('the remaining requests are shown, and at the limit a countdown', async () => {
    await using bed = await startBed({ DOCKERPROXY_RATE_LIMIT: '5/minute' });
    const chromium = await startChromium();
    await using visited = await visit(chromium, `${bed.url}/?image=${bed.busybox}`);
    const { page, complaints } = visited;
    await untilShown(page);
    await page.locator('#limits', { hasText: /Requests left: \d of 5\./ }).waitFor();
    const status = page.locator('#status');
    // Different images, because the browser caches responses.
    for (const tag of ['1.35', '1.36', '1.36.1', '1.37.0-rc1', 'musl', 'latest']) {
      if (await page.locator('#problem').isVisible()) break;
      await enter(page, `${bed.busybox}:${tag}`);
      await status.filter({ hasNotText: 'Looking it up' }).waitFor({ state: 'attached' });
    }
    await page.getByRole('heading', { name: 'You have sent too many requests.' }).waitFor();
    await page.locator('#limits', { hasText: 'Requests left: 0 of 5.' }).waitFor();
    const again = page.getByRole('button', { name: 'Try again' });
    assert.equal(await again.isDisabled(), true);
    const timer = page.getByRole('timer');
    const first = await timer.textContent();
    assert.match(first ?? '', /^You can try again in (?:1:00|0:\d\d)\.$/);
    await assertAccessible(page, 'countdown');
    // The test controls the page's clock, so that it does not wait for a minute.
    await page.clock.install();
    await page.clock.fastForward(5000);
    await page.waitForFunction(
      (before) => document.querySelector('[role=timer]')?.textContent !== before,
      first,
    );
    await page.clock.fastForward(90_000);
    await page.locator('#problem button:enabled').waitFor();
    // The line keeps its height, so that the layout does not move.
    assert.equal((await timer.textContent())?.trim(), '');
    assert.deepEqual(complaints, []);
  });

  test('a bundle that is too large says so, though each of its images is not', async () => {
    await using bed = await startBed({ DOCKERPROXY_MAX_IMAGE_SIZE: '1500000' });
    const chromium = await startChromium();
    const { host } = bed.registry;
    await using visited = await visit(
      chromium,
      `${bed.url}/?image=${host}/test/shared:1&image=${host}/test/zstd`,
    );
    await visited.page.getByRole('heading', { name: 'This is too large for this service.' }).waitFor();
    await visited.page.locator('#image').fill(`${host}/test/zstd`);
    await visited.page.keyboard.press('Enter');
    await untilShown(visited.page);
  });
});
