import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { untilShown, usePage } from './browser.ts';

/** Longer than the half second in which browsers ascribe movements to the visitor. */
const LATENCY_MS = 700;
const SLOW_NETWORK = {
  offline: false,
  latency: LATENCY_MS,
  downloadThroughput: 200_000,
  uploadThroughput: 100_000,
};
const CPU_RATE = 3;

const PHONE: BrowserContextOptions = { viewport: { width: 375, height: 812 } };

suite('transitions of the page on a slow processor and network', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();
  const enter = async (page: Page, text: string) => {
    // Browsers ascribe movements to keys, and not to text that a program fills in.
    await page.locator('#image').press('Control+A');
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
  };

  const transitions: [
    name: string,
    act: (page: Page, offline: (isOffline: boolean) => Promise<void>) => Promise<void>,
  ][] = [
    [
      'from the start to an image',
      async (page) => {
        await enter(page, 'python:3.12-slim');
        await untilShown(page);
      },
    ],
    [
      'back to the start, and forward',
      async (page) => {
        await page.goBack();
        await page.locator('#start').waitFor();
        await page.goForward();
        await untilShown(page);
      },
    ],
    [
      'to another platform and back',
      async (page) => {
        for (const platform of ['linux/arm64', 'linux/amd64']) {
          await page.locator('#platform').selectOption(platform);
          await page.locator(`#download[href*="${platform}"]`).waitFor();
        }
      },
    ],
    [
      'to a download',
      async (page) => {
        const started = page.waitForEvent('download');
        await page.locator('#download').click();
        await started;
      },
    ],
    [
      'to its checksum',
      async (page) => {
        await page.locator('#sum').click();
        await page.locator('#hash', { hasText: /^\w{64}$/ }).waitFor();
      },
    ],
    [
      'to several images, one of them wrong',
      async (page) => {
        await enter(page, `nginx:1.27 postgres:17 ${bed().registry.host}/test/nothing`);
        await page.locator('#rows .wrong').waitFor();
      },
    ],
    [
      'to the images without the wrong one',
      async (page) => {
        await page.locator('#rows .wrong .remove').click();
        await page.locator('#rows .wrong').waitFor({ state: 'detached' });
        await untilShown(page);
      },
    ],
    [
      'to a problem',
      async (page) => {
        await enter(page, `${bed().busybox}:1.366`);
        await page.locator('#problem .chips button').first().waitFor();
      },
    ],
    [
      'to a tag instead',
      async (page) => {
        await page.locator('#problem .chips button').first().click();
        await untilShown(page);
      },
    ],
    [
      'to pasted commands, which another module reads',
      async (page) => {
        await enter(page, 'docker run --rm nginx:1.27 nginx -v');
        await page.locator('#title', { hasText: 'nginx:1.27' }).waitFor();
      },
    ],
    [
      'to suggestions',
      async (page) => {
        await page.locator('#tags').click();
        await page.locator('#options li').first().waitFor();
        await page.keyboard.press('Escape');
      },
    ],
    [
      'to an absent network and back',
      async (page, offline) => {
        await offline(true);
        // Not yet in the cache of the browser.
        await enter(page, `${bed().busybox}:musl`);
        await page.locator('#problem h2').waitFor();
        await offline(false);
        await untilShown(page);
      },
    ],
  ];

  for (const [device, options] of [
    ['a laptop', { viewport: { width: 1280, height: 800 } }],
    ['a phone', PHONE],
  ] as const) {
    const findMoved = async (t: TestContext) => {
      const page = await open(t, '/', options);
      const devtools = await page.context().newCDPSession(page);
      await devtools.send('Network.enable');
      const offline = async (isOffline: boolean) => {
        await devtools.send('Network.emulateNetworkConditions', { ...SLOW_NETWORK, offline: isOffline });
      };
      await offline(false);
      await devtools.send('Emulation.setCPUThrottlingRate', { rate: CPU_RATE });
      await observeShifts(page);
      const moved: string[] = [];
      for (const [name, act] of transitions) {
        await act(page, offline).catch((error: Error) => assert.fail(`${name}: ${error.message}`));
        moved.push(...(await takeShifts(page)).map((element) => `${name}: ${element}`));
      }
      return moved;
    };

    test(`nothing moves by itself on ${device}`, async (t) => {
      const moved = await findMoved(t);
      if (moved.length === 0) return;
      // On a busy machine, a movement that the visitor caused is late once, and then seems to have no cause.
      const movedAgain = new Set(await findMoved(t));
      assert.deepEqual(
        moved.filter((movement) => movedAgain.has(movement)),
        [],
      );
    });
  }
});

/** Collects the elements that move without an action of the visitor. */
async function observeShifts(page: Page): Promise<void> {
  await page.evaluate(() => {
    const moved: string[] = [];
    const observer = new PerformanceObserver((list) => take(list.getEntries()));
    const take = (entries: PerformanceEntryList) => {
      for (const entry of entries) {
        const { hadRecentInput, sources } = entry as unknown as {
          hadRecentInput: boolean;
          sources: { node: Element | null }[];
        };
        if (hadRecentInput) continue;
        for (const { node } of sources) moved.push(`${node?.nodeName} ${node?.id ?? ''}`);
      }
    };
    observer.observe({ type: 'layout-shift' });
    Object.assign(globalThis, {
      takeShifts: () => {
        take(observer.takeRecords());
        return moved.splice(0);
      },
    });
  });
}

/** Returns what has moved since the last call, after two frames. */
function takeShifts(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise((done) => requestAnimationFrame(done));
    return (globalThis as unknown as { takeShifts(): string[] }).takeShifts();
  });
}
