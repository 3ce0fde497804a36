import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { untilShown, usePage } from './browser.ts';

/** Longer than the half second in which browsers ascribe movements to the visitor. */
const LATENCY_MS = 550;
const SLOW_NETWORK = {
  offline: false,
  latency: LATENCY_MS,
  downloadThroughput: 200_000,
  uploadThroughput: 100_000,
};
const CPU_RATE = 3;

const PHONE: BrowserContextOptions = { viewport: { width: 375, height: 812 } };

/** The fold-outs of an image, and the last element that each one loads. */
const FOLDS = [
  ['details', '#details', '.beside .hint'],
  ['files', '#inside', '[role=treeitem]'],
  ['advanced choices', '#advanced', '#format'],
  ['ways to load the file', '#load', '#loading'],
  ['ways to check the file', '#check', '#linux'],
] as const;

type Transition = (page: Page, offline: (isOffline: boolean) => Promise<void>) => Promise<void>;

suite('transitions of the page on a slow processor and network', {
  concurrency: 2,
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, open } = usePage();
  const enter = async (page: Page, text: string) => {
    // Browsers ascribe movements to keys, and not to text that a program fills in.
    await page.locator('#image').press('Control+A');
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
  };

  const transitions: Record<string, Transition> = {
    'from the start to an image': async (page) => {
      await enter(page, 'python:3.12-slim');
      await untilShown(page);
    },
    'back to the start, and forward': async (page) => {
      await page.goBack();
      await page.locator('#start').waitFor();
      await page.goForward();
      await untilShown(page);
    },
    'to another platform and back': toOtherPlatformAndBack,
    'to another platform while the ways to load the file are open': async (page) => {
      await page.locator('#load > summary').click();
      await toOtherPlatformAndBack(page);
      await page.locator('#load > summary').click();
    },
    'to a download': async (page) => {
      const started = page.waitForEvent('download');
      await page.locator('#download').click();
      await started;
    },
    'to its checksum': async (page) => {
      await page.locator('#sum').click();
      await page.locator('#hash', { hasText: /^\w{64}$/ }).waitFor();
    },
    ...Object.fromEntries(
      FOLDS.map(([name, selector, filled]): [string, Transition] => [
        `to the open and closed ${name}`,
        async (page) => {
          await page.locator(`${selector} > summary`).click();
          await page.locator(`${selector} ${filled}`).first().waitFor({ state: 'attached' });
          await page.locator(`${selector} > summary`).click();
        },
      ]),
    ),
    'to the files of the image, a folder, and a file': async (page) => {
      await page.locator('#inside > summary').click();
      await page.locator('.tree [aria-expanded=false]').first().click();
      await page.locator('.tree [role=group] [aria-level="2"]').first().click();
      await page.locator('.entry a').waitFor();
    },
    'to a filter of the files': async (page) => {
      await page.locator('#inside input').press('b');
      await page.locator('.stage', { hasText: ' of ' }).waitFor();
    },
    'to the layers of the image': async (page) => {
      await page.locator('#inside details > summary').click();
      await page.locator('.layers li').first().waitFor();
    },
    'to other formats': async (page) => {
      await page.locator('#advanced > summary').click();
      for (const key of ['End', 'ArrowUp', 'Home', 'ArrowDown']) {
        await page.locator('#format').press(key);
        await untilLookedUp(page);
      }
      assert.equal(await page.locator('#format').inputValue(), 'oci');
    },
    'to all platforms, with signatures, in parts': async (page) => {
      for (const name of ['platform', 'referrers']) {
        await page.locator(`#advanced [name=${name}]`).press(' ');
        await untilLookedUp(page);
      }
      await page.locator('#advanced [name=parts]').pressSequentially('1MiB');
      await page.keyboard.press('Enter');
      await untilLookedUp(page);
      await page.locator('#parts a').first().waitFor();
    },
    'back and forward over the choices': async (page) => {
      for (let step = 0; step < 3; step++) {
        await page.goBack();
        await untilLookedUp(page);
      }
      for (let step = 0; step < 3; step++) {
        await page.goForward();
        await untilLookedUp(page);
      }
    },
    'to a refused choice and back': async (page) => {
      await page.locator('#advanced [name=parts]').fill('');
      await page.locator('#advanced [name=parts]').pressSequentially('1B');
      await page.keyboard.press('Enter');
      await page.locator('#problem h2').waitFor();
      await page.locator('#advanced [name=parts]').press('Control+A');
      await page.keyboard.type('1MiB');
      await page.keyboard.press('Enter');
      await untilLookedUp(page);
    },
    'to other themes': async (page) => {
      for (const key of ['ArrowDown', 'ArrowDown']) await page.locator('#theme').press(key);
      assert.equal(await page.locator('#theme').inputValue(), 'dark');
    },
    'to the language fa': (page) => chooseLanguage(page, 'fa'),
    'to the language en': (page) => chooseLanguage(page, 'en'),
    'to a short link': async (page) => {
      await page.goto(`${bed().url}/python:3.12-slim`);
      await untilLookedUp(page);
    },
    'to several images, one of them wrong': async (page) => {
      await enter(page, `nginx:1.27 postgres:17 ${bed().registry.host}/test/nothing`);
      await page.locator('#rows .wrong').waitFor();
    },
    'to the images without the wrong one': async (page) => {
      await page.locator('#rows .wrong .remove').click();
      await page.locator('#rows .wrong').waitFor({ state: 'detached' });
      await untilShown(page);
    },
    'to a problem': async (page) => {
      await enter(page, `${bed().busybox}:1.366`);
      await page.locator('#problem .chips button').first().waitFor();
    },
    'to a tag instead': async (page) => {
      await page.locator('#problem .chips button').first().click();
      await untilShown(page);
    },
    'to pasted commands, which another module reads': async (page) => {
      await enter(page, 'docker run --rm nginx:1.27 nginx -v');
      await page.locator('#title', { hasText: 'nginx:1.27' }).waitFor();
    },
    'to suggestions': async (page) => {
      await page.locator('#tags').click();
      await page.locator('#options li').first().waitFor();
      await page.keyboard.press('Escape');
    },
    'to an absent network and back': async (page, offline) => {
      await offline(true);
      // Not yet in the cache of the browser.
      await enter(page, `${bed().busybox}:musl`);
      await page.locator('#problem h2').waitFor();
      await offline(false);
      await untilShown(page);
    },
  };

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
      for (const [name, act] of Object.entries(transitions)) {
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

/** Waits until the page shows the chosen image again. */
async function untilLookedUp(page: Page): Promise<void> {
  await page.locator('#form[aria-busy=false]').waitFor();
  await untilShown(page);
}

async function toOtherPlatformAndBack(page: Page): Promise<void> {
  for (const [key, platform] of [
    ['ArrowDown', 'linux/arm64'],
    ['ArrowUp', 'linux/amd64'],
  ] as const) {
    await page.locator('#platform').press(key);
    await page.locator(`#download[href*="${platform}"]`).waitFor();
  }
}

async function chooseLanguage(page: Page, lang: string): Promise<void> {
  await page.locator('#languages summary').click();
  await page.locator(`#languages [lang=${lang}]`).click();
  await page.waitForURL(`**lang=${lang}**`);
  await untilLookedUp(page);
}

/** Collects the elements that move without an action of the visitor, also on the next pages. */
async function observeShifts(page: Page): Promise<void> {
  const observe = () => {
    const moved: string[] = [];
    const observer = new PerformanceObserver((list) => take(list.getEntries()));
    const take = (entries: PerformanceEntryList) => {
      for (const entry of entries) {
        const { hadRecentInput, sources } = entry as unknown as {
          hadRecentInput: boolean;
          sources: { node: Element | null; previousRect: DOMRect; currentRect: DOMRect }[];
        };
        if (hadRecentInput) continue;
        for (const { node, previousRect, currentRect } of sources) {
          const name = node?.id || node?.textContent?.slice(0, 40);
          moved.push(`${node?.nodeName} ${name}: ${previousRect.y} to ${currentRect.y}`);
        }
      }
    };
    observer.observe({ type: 'layout-shift', buffered: true });
    Object.assign(globalThis, {
      takeShifts: () => {
        take(observer.takeRecords());
        return moved.splice(0);
      },
    });
  };
  await page.addInitScript(observe);
  await page.evaluate(observe);
}

/** Returns what has moved since the last call, after two frames. */
function takeShifts(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise((done) => requestAnimationFrame(done));
    return (globalThis as unknown as { takeShifts(): string[] }).takeShifts();
  });
}
