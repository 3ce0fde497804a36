import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, type TestContext } from 'node:test';
import type axe from 'axe-core';
import {
  type Browser,
  type BrowserContextOptions,
  chromium,
  type Download,
  type Locator,
  type Page,
} from 'playwright-core';
import { findCommand } from '../support/process.ts';
import { waitFor } from '../support/wait-for.ts';
import { type Bed, startBed } from './bed.ts';

/** Screenshots of each state, for people to look at. */
export const OUTPUT = join(import.meta.dirname, '../output');
/** A host on loopback that browsers do not trust as they trust 127.0.0.1. */
export const PLAIN_HOST = 'plain.test';
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WCAG_2_2_AA = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

let running: Promise<Browser> | undefined;
let shared: Promise<Bed> | undefined;

after(async () => {
  await (await running)?.close();
  await (await shared)?.[Symbol.asyncDispose]();
});

/**
 * Starts Debian's Chromium once for all tests of the process, without its background traffic. Each context has an empty
 * profile. The shell has no windows, and uses half the CPU time.
 */
export function startChromium(): Promise<Browser> {
  running ??= launch();
  return running;
}

async function launch(): Promise<Browser> {
  await mkdir(OUTPUT, { recursive: true });
  return chromium.launch({
    executablePath: findCommand('chromium-headless-shell') ?? findCommand('chromium') ?? 'chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`,
    ],
  });
}

export interface Visit extends AsyncDisposable {
  page: Page;
  /** The complaints of the browser: errors of scripts, and violations of the content policy. */
  complaints: string[];
}

/** Messages without a fault of the page: an error response, a header that needs HTTPS. */
const HARMLESS = /^(?:Failed to load resource|The Cross-Origin-Opener-Policy header has been ignored)/;

/** A visitor with a separate browser profile. */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Visit> {
  const context = await browser.newContext({
    locale: 'en-US',
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  // Long enough for a busy machine.
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !HARMLESS.test(message.text())) complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
}

/** Opens pages for tests. A test fails if the browser reported an error. */
export function createOpener(
  parts: () => { chromium: Browser; url: string },
): (t: TestContext, path?: string, options?: BrowserContextOptions) => Promise<Page> {
  return async (t, path = '/', options = {}) => {
    const { chromium: browser, url } = parts();
    const opened = await visit(browser, url + path, options);
    t.after(async () => {
      await opened[Symbol.asyncDispose]();
      assert.deepEqual(opened.complaints, []);
    });
    const hasScripts = options.javaScriptEnabled !== false && path !== '/api';
    if (hasScripts) await untilReady(opened.page);
    return opened.page;
  };
}

/**
 * Starts the service before the tests of a suite, once for all tests of the process.
 *
 * @param prepare pushes the images that the tests need
 */
export function usePage(prepare = async (_bed: Bed): Promise<void> => {}) {
  let bed: Bed;
  let browser: Browser;
  before(async () => {
    shared ??= startBed();
    [bed, browser] = await Promise.all([shared, startChromium()]);
    await prepare(bed);
  });
  const open = createOpener(() => ({ chromium: browser, url: bed.url }));
  return {
    bed: () => bed,
    browser: () => browser,
    open,
    /** Opens a page that shows an image. */
    openImage: async (...visited: Parameters<typeof open>) => {
      const page = await open(...visited);
      await untilShown(page);
      return page;
    },
  };
}

/** Waits until the page's modules run. Until then, the form is sent to the service. */
export async function untilReady(page: Page): Promise<void> {
  await page.waitForFunction(() => document.forms[0]?.onsubmit);
}

/** Opens a page until the condition holds, because Chromium stores what the page before keeps a moment later. */
export async function openUntil(condition: () => Promise<boolean>, page: Page, url: string): Promise<void> {
  const isShown = async () => {
    await page.goto(url);
    return condition();
  };
  await waitFor(isShown, { timeout: 60_000, what: 'what an earlier page stored' });
}

/** Requests an image as visitors do. */
export async function enter(page: Page, text: string): Promise<void> {
  await page.locator('#image').fill(text);
  await page.keyboard.press('Enter');
}

/** Clicks, and returns the download that this starts. */
export async function savedBy(link: Locator): Promise<Download> {
  const saved = link.page().waitForEvent('download');
  await link.click();
  return saved;
}

/** Waits until the page shows the details of an image. */
export async function untilShown(page: Page): Promise<void> {
  await page.locator('#result').waitFor();
  await page.locator('#result h2').first().waitFor();
}

/**
 * Asserts that axe finds nothing against WCAG 2.2 AA, and keeps a picture. Playwright evaluates past the policy for
 * content, as a browser's own tools do.
 */
export async function assertAccessible(page: Page, name: string, ignored: string[] = []): Promise<void> {
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  // A PNG takes twice the CPU time.
  await page.screenshot({ path: join(OUTPUT, `${name}.jpeg`), fullPage: true });
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(AXE);
  const violations = await page.evaluate(
    async ([tags, disabled]) => {
      const { violations: found } = await (globalThis as unknown as { axe: typeof axe }).axe.run(document, {
        runOnly: { type: 'tag', values: tags },
        rules: Object.fromEntries(disabled.map((rule) => [rule, { enabled: false }])),
      });
      return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
    },
    [WCAG_2_2_AA, ignored] as const,
  );
  assert.deepEqual(violations, [], name);
}

/** Asserts that the page does not scroll horizontally. */
export async function assertFits(page: Page): Promise<void> {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
  }));
  assert.ok(scroll <= client, `${scroll} px in ${client} px`);
}

/** Returns the position of a visible element. */
export async function boxOf(
  element: Locator,
): Promise<Exclude<Awaited<ReturnType<Locator['boundingBox']>>, null>> {
  const box = await element.boundingBox();
  assert.ok(box, 'it is shown');
  return box;
}

/** The digest of what a browser has saved, in hex. */
export async function sha256Of(download: Download): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(await download.path()), hash);
  return hash.digest('hex');
}
