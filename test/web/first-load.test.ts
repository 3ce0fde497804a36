import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { suite, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { httpCall } from '../support/http-request.ts';
import { listen } from '../support/listen.ts';
import { skipUnless } from '../support/packages.ts';
import { untilReady, usePage, visit } from './browser.ts';

/**
 * The maximum number of executed blocks in the page's modules. Each function call and each loop iteration counts. About
 * 200 run.
 */
const BLOCKS_LIMIT = 1000;
/** Elements of the document; an image's card makes 150 of them. */
const ELEMENTS_LIMIT = 240;
/** The document, its style sheet, its icon, the theme, fourteen modules and two questions to the API; the icon may come twice. */
const REQUESTS_LIMIT = 21;

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 } };

interface Load {
  readonly blocks: number;
  readonly elements: number;
  readonly requests: readonly string[];
  readonly shifts: readonly string[];
}

suite('the first load of the page', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  const { bed, browser } = usePage();
  /** Loads a page in a new profile, and counts the work until `end` appears. */
  const load = async (
    path: string,
    options: BrowserContextOptions = {},
    prepare = async (_page: Page): Promise<void> => {},
    end = 'body',
  ): Promise<Load> => {
    await using visited = await visit(browser(), 'about:blank', { locale: 'fa-IR', ...options });
    const { page } = visited;
    await prepare(page);
    const profiler = await page.context().newCDPSession(page);
    await profiler.send('Profiler.enable');
    await profiler.send('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    const requests: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(bed().url + path);
    await untilReady(page);
    if (path !== '/') await page.locator('#form[aria-busy=false]').waitFor();
    await page.locator(end).waitFor();
    const { result } = await profiler.send('Profiler.takePreciseCoverage');
    const blocks = result
      .filter(({ url }) => url.startsWith(bed().url))
      .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges))
      .reduce((sum, { count }) => sum + count, 0);
    const elements = await page.locator('*').count();
    return { blocks, elements, requests, shifts: await shiftsOf(page) };
  };

  const visits: [name: string, query: () => string][] = [
    ['empty', () => '/'],
    ['with an image', () => `/?image=${bed().busybox}`],
    ['with a platform that is none', () => `/?image=${bed().busybox}&platform=foo`],
    ['with a platform that the image lacks', () => `/?image=${bed().busybox}&platform=linux/s390x`],
    ['with an image that is missing', () => `/?image=${bed().busybox}-missing`],
  ];
  for (const [name, query] of visits) {
    for (const [device, options] of [
      ['a screen', {}],
      ['a phone', PHONE],
    ] as const) {
      test(`${name}, on ${device}: does little work, and nothing moves`, async () => {
        const { blocks, elements, requests, shifts } = await load(query(), options);
        assert.deepEqual(shifts, []);
        assert.ok(blocks > 0 && blocks <= BLOCKS_LIMIT, `${blocks} blocks of scripts`);
        assert.ok(elements <= ELEMENTS_LIMIT, `${elements} elements`);
        assert.ok(requests.length <= REQUESTS_LIMIT, requests.join('\n'));
      });
    }
  }

  for (const [name, path] of [
    ['empty', () => '/'],
    ['refused', () => `/?image=${bed().busybox}&platform=linux/s390x`],
    ['the page of a problem', () => '/dl?myimage=127.0.0.1:1/a'],
  ] as const) {
    test(`${name}: nothing moves while the document arrives in pieces`, async () => {
      await using pieces = await serveInPieces(bed().url, path());
      await using visited = await visit(browser(), 'about:blank', { locale: 'fa-IR', ...PHONE });
      const { page } = visited;
      // The choice of the theme has another width than the default one.
      await page.addInitScript(() => localStorage.setItem('theme', 'dark'));
      await page.goto(pieces.url + path(), { waitUntil: 'commit' });
      for (let piece = pieces.send(); piece !== undefined; piece = pieces.send()) {
        await untilParsed(page, piece);
        await untilPainted(page);
      }
      await page.waitForLoadState();
      if (path().startsWith('/?')) await page.locator('#problem button').first().waitFor();
      assert.deepEqual(await shiftsOf(page), []);
    });
  }

  test('a script that does more work is detected anywhere', async () => {
    const work = `for (let turn = 0; turn <= ${BLOCKS_LIMIT}; turn++) document.body.className = 'idle';`;
    for (const busy of [
      (code: string) => `${code}\n${work}`,
      (code: string) => `${code}\nsetTimeout(() => { ${work} });`,
      (code: string) => `${code}\nawait fetch('/healthz'); ${work}`,
    ]) {
      const answerBusily = (page: Page) =>
        page.route('**/app.js', async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, body: busy(await response.text()) });
        });
      const { blocks } = await load(`/?image=${bed().busybox}`, {}, answerBusily, '.idle');
      assert.ok(blocks > BLOCKS_LIMIT, `${blocks}`);
    }
  });

  test('layout shifts are detected', async () => {
    const move = (page: Page) =>
      page.addInitScript(() =>
        addEventListener('load', () =>
          requestAnimationFrame(() =>
            setTimeout(() => {
              document.querySelector('main')?.prepend(document.createElement('h1'), 'x');
              requestAnimationFrame(() => setTimeout(() => document.body.classList.add('moved')));
            }),
          ),
        ),
      );
    assert.notDeepEqual((await load('/', {}, move, '.moved')).shifts, []);
  });
});

/** Elements that moved on a page without user action. */
function shiftsOf(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const observer = new PerformanceObserver(() => {});
    observer.observe({ type: 'layout-shift', buffered: true });
    return observer.takeRecords().map((shift) => JSON.stringify(shift));
  });
}

/** Waits for the comment that ends a piece. Frames can't be waited for: rendering may be held back. */
async function untilParsed(page: Page, piece: string): Promise<void> {
  const find = (mark: string): boolean => {
    const comments = document.createTreeWalker(document, NodeFilter.SHOW_COMMENT);
    while (comments.nextNode()) if (comments.currentNode.nodeValue === mark) return true;
    return false;
  };
  await page.waitForFunction(find, piece, { polling: 10 });
}

/** Waits for a frame or, if rendering is delayed, for the equivalent turns of the event loop. */
function untilPainted(page: Page): Promise<void> {
  return page.evaluate(async () => {
    const frame = new Promise<void>((done) => requestAnimationFrame(() => setTimeout(done)));
    let isPainted = false;
    void frame.then(() => {
      isPainted = true;
    });
    for (let turn = 0; turn < 20 && !isPainted; turn++) await new Promise((done) => setTimeout(done));
  });
}

/** A proxy that sends a document of the service tag by tag, like a slow connection. */
async function serveInPieces(origin: string, path: string) {
  const page = { headers: { accept: 'text/html', 'accept-language': 'fa' } };
  const document = (await httpCall(origin + path, page)).body.toString();
  // The parts after the form are below it.
  const parts = document.split(
    /(?=<(?:details|input|ul|button class="primary js"|h1|\/header|\/form|\/main))|(?<=<img[^>]*>)/,
  );
  const pieces = parts.map((html, at) => ({ html, mark: `piece ${at}` }));
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  const server = createServer(async (request, response) => {
    if (request.url === path) {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.flushHeaders();
      resolve(response);
      return;
    }
    const { status, headers, body } = await httpCall(`${origin}${request.url}`);
    response.writeHead(status, { 'content-type': headers['content-type'] }).end(body);
  });
  const listening = await listen(server);
  return {
    ...listening,
    url: `http://${listening.host}`,
    /** Sends the next piece, and gives the comment at its end; ends the document after the last one. */
    send(): string | undefined {
      const piece = pieces.shift();
      void promise.then((response) => {
        if (piece === undefined) response.end();
        else response.write(`${piece.html}<!--${piece.mark}-->`);
      });
      return piece?.mark;
    },
  };
}
