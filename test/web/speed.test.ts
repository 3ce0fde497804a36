import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { skipUnless } from '../support/packages.ts';
import { type Bed, startBed } from './bed.ts';
import { startChromium, untilReady, visit } from './browser.ts';

/** Milliseconds. */
const SCRIPTING_LIMIT = 100;
const LOADS = 3;

/** https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: complete events have a duration. */
interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
  /** What of it the thread has run: the machine may have other things to do. */
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

const BUSY_MS = 600;
const BUSY = `for (const end = performance.now() + ${BUSY_MS}; performance.now() < end; ); document.body.className = 'idle';`;

const SCRIPTING =
  /^(?:EvaluateScript|FunctionCall|RunMicrotasks|v8\.(?:compile|compileModule|evaluateModule|produceCache)|TimerFire|EventDispatch)$/;

suite('the speed of the page', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let bed: Bed;
  let chromium: Browser & AsyncDisposable;

  before(async () => {
    [bed, chromium] = await Promise.all([startBed(), startChromium()]);
  });
  after(async () => {
    await chromium[Symbol.asyncDispose]();
    await bed[Symbol.asyncDispose]();
  });

  /** Loads a page for the first time: how long scripts ran, and what moved. */
  const load = async (
    path: string,
    options: BrowserContextOptions = {},
    prepare = async (_page: Page): Promise<void> => {},
    end = 'body',
  ): Promise<{ scripting: number; shifts: string[] }> => {
    await using visited = await visit(chromium, 'about:blank', { locale: 'fa-IR', ...options });
    const { page } = visited;
    await prepare(page);
    await chromium.startTracing(page, {
      categories: ['devtools.timeline', 'v8', 'v8.execute', '__metadata'],
    });
    await page.goto(bed.url + path);
    await untilReady(page);
    if (path !== '/') await page.locator('#form[aria-busy=false]').waitFor();
    await page.locator(end).waitFor();
    const trace = JSON.parse((await chromium.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
    const shifts = await page.evaluate(() => {
      const observer = new PerformanceObserver(() => {});
      observer.observe({ type: 'layout-shift', buffered: true });
      return observer.takeRecords().map((shift) => JSON.stringify(shift));
    });
    return { scripting: scripting(trace.traceEvents), shifts };
  };

  const visits: [name: string, path: () => string, options: BrowserContextOptions][] = [
    ['the empty page', () => '/', {}],
    ['an image', () => `/?image=${bed.busybox}`, {}],
    ['the empty page on a phone', () => '/', { viewport: { width: 360, height: 740 } }],
    ['an image on a phone', () => `/?image=${bed.busybox}`, { viewport: { width: 360, height: 740 } }],
    [
      'what is refused',
      () => `/?image=${bed.busybox}&platform=foo`,
      { viewport: { width: 360, height: 740 } },
    ],
  ];
  for (const [name, path, options] of visits) {
    test(`the first load takes less than 100 ms of scripting, and nothing moves: ${name}`, async (t) => {
      const durations: number[] = [];
      for (let count = 0; count < LOADS; count++) {
        const { scripting: took, shifts } = await load(path(), options);
        assert.deepEqual(shifts, []);
        durations.push(took);
      }
      const least = Math.min(...durations);
      t.diagnostic(`scripting of the first load: ${least.toFixed(1)} ms`);
      assert.ok(least > 0 && least < SCRIPTING_LIMIT, durations.join());
    });
  }

  test('a script that is busy is seen, wherever it is, and so is what moves', async () => {
    for (const busy of [
      (code: string) => `${code}\n${BUSY}`,
      (code: string) => `${code}\nsetTimeout(() => { ${BUSY} });`,
      (code: string) => `${code}\nawait fetch('/healthz'); ${BUSY}`,
    ]) {
      const answerBusily = (page: Page) =>
        page.route('**/app.js', async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, body: busy(await response.text()) });
        });
      const { scripting: took } = await load(`/?image=${bed.busybox}`, {}, answerBusily, '.idle');
      assert.ok(took > SCRIPTING_LIMIT, `${took} ms`);
    }
    const { shifts } = await load('/', {}, (page) =>
      page.addInitScript(() =>
        addEventListener('load', () =>
          requestAnimationFrame(() =>
            setTimeout(() => document.querySelector('main')?.prepend(document.createElement('h1'), 'x')),
          ),
        ),
      ),
    );
    assert.notDeepEqual(shifts, []);
  });
});

/** Milliseconds in which scripts ran on the main threads of pages; what is within something else counts once. */
function scripting(events: readonly TraceEvent[]): number {
  const main = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const spans = events
    .filter(({ name, ph, pid, tid }) => ph === 'X' && SCRIPTING.test(name) && main.has(`${pid} ${tid}`))
    .sort((a, b) => a.ts - b.ts);
  let total = 0;
  let until = Number.NEGATIVE_INFINITY;
  for (const { ts, dur = 0, tdur = dur } of spans) {
    if (ts < until) continue;
    total += tdur;
    until = ts + dur;
  }
  return total / 1000;
}
